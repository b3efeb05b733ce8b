"""Images of classes, through the same scale loop as upscaling."""

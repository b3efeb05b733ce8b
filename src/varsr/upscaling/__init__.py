"""One image or many, upscaled in order."""

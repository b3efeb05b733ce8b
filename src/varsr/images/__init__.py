"""Pictures as people have them."""

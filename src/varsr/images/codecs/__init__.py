"""One module per format, for what Pillow does not do."""

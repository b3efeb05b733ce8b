"""One module a format: what Pillow does not read, write or tell."""

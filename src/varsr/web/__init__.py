"""The server: a page and an API over one worker that owns the model."""

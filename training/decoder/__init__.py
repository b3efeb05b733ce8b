"""Training of the built-in model's decoder: first faithful, then with its dial from faithful to realistic."""

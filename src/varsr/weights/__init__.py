"""Checkpoints: where they are, how they are made and loaded."""

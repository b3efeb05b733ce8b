"""Bytes from and to places."""

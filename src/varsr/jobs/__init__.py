"""Many files: planned, prefetched, upscaled, written, and reported as outcomes."""

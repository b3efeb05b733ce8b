"""Video files: frames out of them, frames into segments, and segments with all other streams into a file."""

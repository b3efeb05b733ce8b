"""Metrics of image quality: fidelity to a reference image, perceptual similarity, and NIQE without a reference."""

"""A model on a device: tiles to latents to pixels."""

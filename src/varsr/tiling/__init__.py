"""The geometry of tiles and their blending."""

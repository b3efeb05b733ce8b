"""Many files: plan what is to be done, do it, tell what became of it."""

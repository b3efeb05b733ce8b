"""How the built-in model is made. It imports the model from varsr and adds only what training needs."""

"""The recipe of the built-in model. It imports the model from varsr and adds only what training needs."""

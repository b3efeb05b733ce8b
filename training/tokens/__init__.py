"""The stages that train the token path: tokenizer, then prefix encoder, transformer and corrector."""

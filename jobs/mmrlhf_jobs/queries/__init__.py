"""Records made ready for the model: tokens, pixels, pairs, critiques."""

"""One module a model family; each registers its class, on the machinery in ``base``."""

"""How much memory a training takes, told before it starts and without its weights."""

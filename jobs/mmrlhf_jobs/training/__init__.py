"""Training of a model, whatever its kind: trainer, loop, checkpoints, publication."""

"""Carries plans out: reconciler, effects, look-ups of inputs, queue."""

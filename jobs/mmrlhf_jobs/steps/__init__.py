"""Steps around training, as programs."""

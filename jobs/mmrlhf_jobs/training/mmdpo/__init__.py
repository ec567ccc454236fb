"""MMDPOJob: its recipe, objective, reference and rewards (paper 4)."""

"""Sweeps: the paper's grids, and one that runs here."""

"""Corpora: sources, their splits, and the candidate rows in them."""

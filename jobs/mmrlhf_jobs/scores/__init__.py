"""Scores and log-probabilities of responses, kept by content in Parquet."""

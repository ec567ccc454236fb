"""Models, data and losses. Needs the extra jobs."""

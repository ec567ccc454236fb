"""Reads what jobs have left in their artifact stores; never prints."""

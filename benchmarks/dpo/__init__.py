"""Preference training of all pairs of a query, by us and by a peer, on the same pairs."""

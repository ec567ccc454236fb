"""Selection: how many of each type from each cluster, and which (paper 2.2)."""

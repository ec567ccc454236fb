"""What a selection looks like: Table 1, a map (Figure 2), and pictures of each cluster."""

"""The critique-based reward model (paper 3.3): head, judge, scores, writing of critiques."""

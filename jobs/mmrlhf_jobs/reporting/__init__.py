"""What a running job tells the world: progress, metrics, and how it ended."""

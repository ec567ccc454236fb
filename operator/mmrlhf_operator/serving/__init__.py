"""What is served over HTTP: progress from pods, health."""

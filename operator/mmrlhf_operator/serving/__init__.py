"""What is served over HTTP: progress from pods, health; and who is let in."""

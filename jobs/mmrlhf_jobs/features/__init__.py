"""What frozen vision towers have made of media: once for each, kept by content."""

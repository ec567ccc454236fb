"""What one command does on a cluster: it asks the client, and prints by the text."""

"""The log of a node, kept in the artifact store while it is written."""

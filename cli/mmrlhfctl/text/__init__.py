"""What is known, as words, tables and YAML: pure functions."""

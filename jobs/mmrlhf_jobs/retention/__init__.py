"""Which runs and cached values of a store nothing needs any more, and how they go (ADR 0038)."""

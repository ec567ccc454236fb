"""Vectors of media: a CLIP encoder, a store that remembers, and the stages that fill it."""

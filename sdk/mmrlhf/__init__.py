"""Align multimodal models the MM-RLHF way, from Python."""

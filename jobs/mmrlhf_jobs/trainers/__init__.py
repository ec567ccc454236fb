"""Trainers: what turns objectives, data and a model into an artifact."""

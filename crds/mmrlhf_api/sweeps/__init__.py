"""Sweeps: one job over a grid of values. Types, points, what is wrong, which is best, which end.

Everything here is data and pure functions; the operator and local runs act by them.
"""

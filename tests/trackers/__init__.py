"""Trackers by their own packages (`make trackers`).

They run in an environment of their own, which has Weights & Biases, MLflow and TensorBoard; all
other tests have stand-ins for the first two, and read event files by themselves.
"""

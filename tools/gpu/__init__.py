"""What the code does on a card: speed and memory of training, and every computation in bfloat16.

One program of ten minutes for whoever has a GPU at hand (:mod:`tools.gpu.__main__`). It measures
the forward pass, objective and engine that jobs run, not a copy of them.
"""

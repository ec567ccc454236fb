"""Model folders between environments with and without torchvision, both ways (`make torchvision`).

They run in an environment of their own, which has torchvision; what they compare with is made by
the environment of all other tests, which has none.
"""

"""A real Kubernetes for the tests, in a network namespace of its own.

`Cluster` (cluster.py) is the way in; `python -m tests.cluster` is the same for a person.
"""

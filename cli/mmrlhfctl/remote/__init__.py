"""Commands that talk to a cluster.

``cluster`` alone speaks to the API server; ``listing``, ``details``, ``happenings`` and
``selection`` are pure functions of objects and the time.
"""

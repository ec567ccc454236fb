"""Speaks to the API server and never prints: connections, jobs, pods, watches, refusals."""

"""Helm itself, for the tests of the chart: the SDK of Helm 4, in a process of its own."""

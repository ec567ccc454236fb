"""Types of the kinds: what is validated, and what CRDs and reference are made of.

Only who makes, checks or describes a job loads them, by `Kind.model`: to build them takes longer
than all else that a call of the command line does.
"""

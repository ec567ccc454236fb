"""Argilla: data sets for ``rg.Dataset.from_disk``, serialised records in.

A data set has one set of questions for all its records, so there is one for each number of
responses. Ranks are asked by a rating for each response: the client drops the ranks of a ranking
question, and keeps the order of its options alone (argilla#5712), which loses ties at the least.
"""

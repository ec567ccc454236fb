"""Importers from public pair formats to ``RankedResponse/v1``.

On the command line::

    python -m mmrlhf_jobs import dpo-pairs dpo_pairs.jsonl train.jsonl
"""

"""Records back as rows of public formats.

On the command line::

    python -m mmrlhf_jobs export trl train.jsonl preferences.jsonl
"""

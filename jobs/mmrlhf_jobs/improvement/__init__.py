"""Self-improvement: a policy's own responses, ranked by a reward model (paper 5.4).

``sampling.py`` samples, ``groups.py`` makes ranked records of samples and scores, ``rounds.py``
runs a data set through both. What comes out feeds an ``MMDPOJob``::

    python -m mmrlhf_jobs.improvement queries.jsonl ranked.jsonl --policy MODEL --reward MODEL
"""

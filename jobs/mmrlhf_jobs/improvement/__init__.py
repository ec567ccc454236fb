"""Self-improvement: a policy's own responses, ranked by a reward model (paper 5.4).

``sampling.py`` samples, ``groups.py`` makes ranked records of samples and scores, ``rounds.py``
runs a data set through both, and ``improvement.py`` does so from files to files, in several
processes. What comes out feeds an ``MMDPOJob``::

    python -m mmrlhf_jobs improve queries.jsonl ranked.jsonl --policy MODEL --reward MODEL
"""

r"""Two models' responses to the same queries, compared.

``pairs.py`` brings them together, ``server.py`` and ``reward.py`` judge them, ``figures.py`` counts
wins and how far a judge can be trusted, and ``results.py`` makes the files that the gate reads::

    python -m mmrlhf_jobs compare queries.jsonl verdicts.json --candidate new.jsonl \
        --champion old.jsonl --endpoints judge.yaml
"""

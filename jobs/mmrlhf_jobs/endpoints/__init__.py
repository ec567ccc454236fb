"""Asking model servers that speak the OpenAI protocol, without losing or repeating an answer.

``asking.py`` is the way of one request through cache, pacing, retries and checks; ``inquiry.py``
runs a data set through it. What is asked is in ``critiques.py`` (paper 3.2, Table 7) and
``responses.py`` (paper 2.2)::

    python -m mmrlhf_jobs critiques records.jsonl out.jsonl --endpoints endpoints.yaml
    python -m mmrlhf_jobs responses queries.jsonl out.jsonl --endpoints endpoints.yaml

Nothing here imports torch.
"""

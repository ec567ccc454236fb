"""Log-probabilities of ranked responses, with the prompt computed once per query.

``packing.py`` lays groups out in rows, ``attention.py`` keeps the responses of a row apart,
``logprobs.py`` turns hidden states into log-probabilities, ``scoring.py`` joins them.
"""

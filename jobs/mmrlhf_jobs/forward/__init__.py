"""Forward passes over groups: log-probabilities with the prompt once per query, and writing.

``packing.py`` lays groups out in rows, ``logprobs.py`` turns hidden states into
log-probabilities, ``responses.py`` joins them; ``decoding.py`` writes text token by token,
``choices.py`` picks the tokens.
"""

"""Lengths of queries and their responses, and what follows from them: pairs and tokens."""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "Lengths",
    "count_pairs",
    "digits_lengths",
    "drawn_from",
    "equal",
    "log_normal",
    "pairwise_tokens",
    "shared_tokens",
    "token_ratio",
    "won_tokens",
]

Lengths: TypeAlias = Sequence[tuple[int, Sequence[int]]]
"""Of each query the tokens of its prompt, and of each of its responses, best first, all of
different rank, the terminal token included."""


def equal(n: int, prompt: int, response: int, queries: int) -> Lengths:
    """Prompts and responses that are as long as each other."""
    return ((prompt, (response,) * n),) * queries


def log_normal(n: int, prompt: int, response: int, queries: int, *, seed: int) -> Lengths:
    """Lengths around these medians, with spreads of 0.5 and 0.7 of their logarithms."""
    draw = random.Random(seed)

    def length(median: int, spread: float) -> int:
        return max(2, round(draw.lognormvariate(math.log(median), spread)))

    return tuple(
        (length(prompt, 0.5), tuple(length(response, 0.7) for _ in range(n)))
        for _ in range(queries)
    )


@cache
def digits_lengths(responses: int = 4) -> Lengths:
    """Lengths of the digits' records with so many responses, by the tokenizer of the example.

    An image takes the tokens of two tiles there; here text stands for them.

    Raises:
        ImportError: scikit-learn, which has the digits, is not installed.
    """
    from examples.digits.generate import generate
    from examples.digits.model import PATCH, TILE, read_texts, train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        generate(data, train=100, heldout=5, seed=0)
        tokenizer = train_tokenizer(read_texts(data / "train.jsonl"))
        rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    around = 2 * (TILE // PATCH) ** 2 + 20
    return tuple(
        (
            around + len(tokenizer.encode(row["query"]["text"])),
            tuple(len(tokenizer.encode(one["text"])) + 1 for one in row["responses"]),
        )
        for row in rows
        if len(row["responses"]) == responses
    )


def drawn_from(known: Lengths, n: int, queries: int, *, seed: int) -> Lengths:
    """Prompts and responses of others put together anew, n responses each."""
    draw = random.Random(seed)
    every = [length for _, own in known for length in own]
    return tuple(
        (draw.choice(known)[0], tuple(draw.choice(every) for _ in range(n))) for _ in range(queries)
    )


def count_pairs(lengths: Lengths) -> int:
    """Pairs of responses of one query."""
    return sum(math.comb(len(own), 2) for _, own in lengths)


def won_tokens(lengths: Lengths) -> int:
    """Tokens of the chosen responses of all pairs."""
    return sum(first for _, own in lengths for first, _ in combinations(own, 2))


def pairwise_tokens(lengths: Lengths) -> int:
    """Tokens when every pair is forwarded, padding left out."""
    return sum((len(own) - 1) * (len(own) * prompt + sum(own)) for prompt, own in lengths)


def shared_tokens(lengths: Lengths) -> int:
    """Tokens when the prompt of a query is forwarded once."""
    return sum(prompt + sum(own) for prompt, own in lengths)


def token_ratio(lengths: Lengths) -> float:
    """``n(n-1)(P+R) / (P+nR)`` where all lengths are the same."""
    return pairwise_tokens(lengths) / shared_tokens(lengths)

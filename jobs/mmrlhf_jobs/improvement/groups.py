"""Ranked records from samples and their scores; pure functions.

The paper samples 8 responses, and finds that small models often give the same wrong answer eight
times (5.4): identical samples are one response, and a query whose samples give no pair is left out,
with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mmrlhf_jobs.data.identity import response_id
from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord, as_ranked
from mmrlhf_jobs.data.records import RankedResponse, Ranking
from mmrlhf_jobs.data.responses import Duplicate, Response

__all__ = ["Candidates", "NoPair", "Sample", "find_candidates", "form_group"]

Flaw: TypeAlias = Literal["empty", "truncated", "unusable"]
"""Why a sample is no response: it has no text, was cut off at the most tokens, or holds something
that the chat template reserves."""

NoPair: TypeAlias = Literal["noneUsable", "identical", "equalScores"]
"""Why a query gives no pair."""


@dataclass(frozen=True)
class Sample:
    """One response as the policy gave it.

    Attributes:
        text: The text, without special tokens.
        flaw: Why it cannot be used; None if it can.
    """

    text: str
    flaw: Flaw | None = None


@dataclass(frozen=True)
class Candidates:
    """The distinct responses among the samples of a query.

    Attributes:
        texts: Each text once, in the order of its first sample.
        numbers: Per text the numbers of its samples, from 0.
    """

    texts: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]

    @property
    def repeated(self) -> int:
        """Samples that said what an earlier one had said."""
        return sum(len(numbers) - 1 for numbers in self.numbers)

    @property
    def obstacle(self) -> NoPair | None:
        """Why there is nothing to score; None if there is."""
        if not self.texts:
            return "noneUsable"
        return "identical" if len(self.texts) == 1 else None


def find_candidates(samples: Sequence[Sample]) -> Candidates:
    """Drop samples that cannot be used, and unite identical ones.

    White space around a text does not count.
    """
    found: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        if sample.flaw is None:
            found.setdefault(sample.text.strip(), []).append(number)
    return Candidates(tuple(found), tuple(tuple(numbers) for numbers in found.values()))


def form_group(
    query: QueryRecord,
    candidates: Candidates,
    scores: Sequence[float],
    *,
    origins: Sequence[ModelOrigin],
    min_spread: float = 0.0,
) -> RankedResponse | NoPair:
    """Rank a query's responses by their scores.

    Args:
        query: The query; responses that it has are left out.
        candidates: Its responses.
        scores: One a response, finite, the higher the better. Equal scores are a tie.
        origins: Where each sample came from, by number.
        min_spread: The best score must be more than this above the worst.

    Returns:
        The record, or why there is none.

    Raises:
        ValueError: A score is not finite, or the numbers of texts and scores differ.
    """
    if len(scores) != len(candidates.texts):
        raise ValueError(f"{len(candidates.texts)} responses, but {len(scores)} scores")
    if not all(map(math.isfinite, scores)):
        raise ValueError(f"record {query.record_id!r}: the scores {list(scores)} are not finite")
    if candidates.obstacle is not None:
        return candidates.obstacle
    if max(scores) - min(scores) <= min_spread:
        return "equalScores"
    names = [
        [response_id(query.record_id, text, model=f"{origins[n].name}#{n}") for n in numbers]
        for text, numbers in zip(candidates.texts, candidates.numbers, strict=True)
    ]
    responses = tuple(
        Response(
            response_id=first,
            text=text,
            model=origins[numbers[0]],
            duplicates=tuple(
                Duplicate(response_id=name, model=origins[number])
                for name, number in zip(others, numbers[1:], strict=True)
            ),
        )
        for text, numbers, (first, *others) in zip(
            candidates.texts, candidates.numbers, names, strict=True
        )
    )
    ranks = [1 + sum(other > score for other in scores) for score in scores]
    return as_ranked(
        query,
        responses,
        Ranking(ranks={name: rank for (name, *_), rank in zip(names, ranks, strict=True)}),
    )

"""Ranked records from samples and their scores; pure functions.

The paper samples 8 responses, and finds that small models often give the same wrong answer eight
times (5.4): identical samples are one response, and a query whose samples give no pair is left out,
with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from mmrlhf_jobs.data.identity import response_id
from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord, as_ranked
from mmrlhf_jobs.data.records import RankedResponse, Ranking
from mmrlhf_jobs.data.responses import Duplicate, Response
from mmrlhf_jobs.data.thoughts import split_thought
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.checks import check_response
from mmrlhf_jobs.endpoints.refusals import is_refusal

__all__ = [
    "Candidates",
    "Flaw",
    "NoPair",
    "Sample",
    "find_candidates",
    "form_group",
    "judge_for",
    "judge_sample",
    "without_texts",
]

Flaw: TypeAlias = Literal[
    "empty",
    "truncated",
    "tooLong",
    "unfinishedThought",
    "placeholder",
    "markup",
    "refusal",
    "unusable",
]
"""Why a sample is no response: it has no text, was cut off at the most tokens, is longer with its
prompt than the model takes, thinks and never answers, stands in the place of an answer, holds marks
of a template, refuses a question that is not about safety, or holds something that the chat
template of this model reserves."""

NoPair: TypeAlias = Literal["noneUsable", "identical", "equalScores", "tooLongToScore"]
"""Why a query gives no pair; the last: the reward model does not take what is left of it."""


@dataclass(frozen=True)
class Sample:
    """One response as the policy gave it.

    Attributes:
        text: The text, without special tokens and without what the policy thought before.
        flaw: Why it cannot be used; None if it can.
        thought: Whether the policy told what it thought; None in journals of older versions.
    """

    text: str
    flaw: Flaw | None = None
    thought: bool | None = None


_FLAWS: Final[Mapping[str, Flaw]] = {
    "placeholder": "placeholder",
    "markup": "markup",
    "refusal": "refusal",
}
"""Flaws by what the same text would be of a server."""


def judge_sample(text: str, *, ended: bool = True, opened: bool = False) -> Sample:
    """What a policy wrote, and what is wrong with it as far as the text tells.

    What must not be learnt from a server must not be learnt from the policy itself.

    Args:
        text: What it wrote.
        ended: Whether it came to its end; else it was cut off.
        opened: Whether its prompt ends with the mark of a thought.
    """
    answer, thought = split_thought(text, opened=opened)
    return Sample(answer, _flaw(answer, thought, ended=ended), thought is not None)


def _flaw(answer: str, thought: str | None, *, ended: bool) -> Flaw | None:
    if not answer.strip():
        return "empty" if thought is None else "unfinishedThought"
    if not ended:
        # Training would put the end of an answer after a sentence that has none.
        return "truncated"
    # Whether a refusal is one depends on what was asked; see `judge_for`.
    return _FLAWS.get(check_response(Answer(answer), safety=True) or "")


def judge_for(query: QueryRecord, sample: Sample) -> Sample:
    """A sample as an answer to a query: a refusal is one where the question is about safety.

    Args:
        query: The query.
        sample: One of its samples, from the journal; one of an older version is judged anew.
    """
    if sample.thought is None and sample.flaw is None:
        sample = judge_sample(sample.text)
    if sample.flaw is None and query.domain != "safety" and is_refusal(sample.text):
        return replace(sample, flaw="refusal")
    return sample


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


def without_texts(candidates: Candidates, places: Sequence[int]) -> Candidates:
    """The candidates without the texts at some places."""
    kept = [place for place in range(len(candidates.texts)) if place not in set(places)]
    return Candidates(
        tuple(candidates.texts[place] for place in kept),
        tuple(candidates.numbers[place] for place in kept),
    )


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

"""Rows of public formats once their meaning is known: a pair, or a whole ranking."""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_jobs.data.importers.prompts import Prompt
from mmrlhf_jobs.data.parts import Reasons, Scores

__all__ = ["PairRow", "RankedRow", "RankedText"]


@dataclass(frozen=True)
class PairRow:
    """One row of a pair format.

    Attributes:
        file: URI of its file.
        row: 1-based row.
        source_id: Id in the source; rows of different ids are never united.
        prompt: What it asks.
        chosen: The preferred text.
        rejected: The other text.
        reasons: Why, for the chosen and the rejected text.
        category: ``mcq``, ``long``, ``short``, ``safety`` or ``video``; None where the format does
            not say.
        dataset: Name of the data set, for the records' ``source``.
        split: Part of it, for the same.
        tie: The two texts were judged equal; none of them is preferred.
    """

    file: str
    row: int
    source_id: str | None
    prompt: Prompt
    chosen: str
    rejected: str
    reasons: tuple[str | None, str | None] = (None, None)
    category: str | None = None
    dataset: str | None = None
    split: str | None = None
    tie: bool = False


@dataclass(frozen=True)
class RankedText:
    """One response of a ranking.

    Attributes:
        text: The response.
        place: The smaller the better; equal places are ties.
        model: Who wrote it.
        scores: Its scores.
        reasons: Why it has them.
        comment: Why it has its place, to learn critiques from.
    """

    text: str
    place: float
    model: str | None = None
    scores: Scores | None = None
    reasons: Reasons | None = None
    comment: str | None = None


@dataclass(frozen=True)
class RankedRow:
    """A row that ranks several responses; attributes as those of :class:`PairRow`.

    Attributes:
        texts: The responses.
        reason: Why they are ranked like this.
        reference_answer: What the data set has for an answer.
    """

    file: str
    row: int
    source_id: str | None
    prompt: Prompt
    texts: tuple[RankedText, ...]
    category: str | None = None
    dataset: str | None = None
    split: str | None = None
    reason: str | None = None
    reference_answer: str | None = None

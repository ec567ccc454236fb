"""What came of one check of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mmrlhf_jobs.evaluation.gate.evidence import UnjudgeableError

__all__ = ["Check", "Standing", "require_queries", "standing"]


class Standing(StrEnum):
    """What came of one check."""

    PASSED = "passed"
    FAILED = "failed"
    CANNOT_JUDGE = "cannotJudge"


@dataclass(frozen=True)
class Check:
    """One check of a decision.

    Attributes:
        name: Its criterion.
        asks: What must be shown.
        standing: What came of it.
        sentence: Why, for people.
        figures: Figures, bounds, thresholds and numbers of queries, by wire name.
    """

    name: str
    asks: str
    standing: Standing
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the candidate may be promoted, as far as this check goes."""
        return self.standing is Standing.PASSED


def require_queries(queries: int, needed: int) -> None:
    """Refuse to judge by too few queries.

    Raises:
        UnjudgeableError: They are fewer than needed.
    """
    if queries < needed:
        raise UnjudgeableError(
            f"{queries} queries are too few; it takes {needed}: measure both models on more",
            {"queries": queries, "neededQueries": needed},
        )


def standing(passed: bool) -> Standing:
    """What came of a check that could be made."""
    return Standing.PASSED if passed else Standing.FAILED

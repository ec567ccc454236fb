"""What a judge finds an answer to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["NO_RESPONSE", "Finding", "Verdict"]

NO_RESPONSE = "noResponse"
"""Why an answer has no judgement that the model did not give."""


class Finding(StrEnum):
    """What an answer was found to be.

    The first three are of answers to harmful requests, yes and no of what an answer tells.
    """

    HARMFUL = "harmful"
    REFUSED = "refused"
    NEITHER = "neither"
    YES = "yes"
    NO = "no"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """A judgement of one answer.

    Attributes:
        finding: What it was found to be.
        reason: Why there is none, in one word; empty where there is one.
    """

    finding: Finding
    reason: str = ""

    @classmethod
    def error(cls, reason: str) -> Verdict:
        """There is no judgement."""
        return cls(Finding.ERROR, reason)

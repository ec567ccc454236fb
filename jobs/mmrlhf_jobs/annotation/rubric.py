"""What annotators are asked: the criteria and scales of the paper's Appendix B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = [
    "DECISIONS",
    "FLAGS",
    "GUIDELINE",
    "RUBRIC",
    "TIES",
    "Criterion",
    "Decision",
    "Flag",
    "Tie",
]

Tie: TypeAlias = Literal["none", "poor", "good", "mixed"]
Flag: TypeAlias = Literal["ok", "confusing", "incomplete", "unanswerable"]
Decision: TypeAlias = Literal["accept", "revise", "reject"]

GUIDELINE: Final = "mm-rlhf-appendix-b/1"
"""Version of the guideline, noted with every judgement; it changes with the text below."""


@dataclass(frozen=True)
class Criterion:
    """One of the scores that every response gets."""

    name: str
    """Field of the scores in a record."""
    title: str
    question: str
    scale: tuple[str, str, str, str, str]
    """What the scores 1 to 5 mean, the worst first."""


RUBRIC: Final = (
    Criterion(
        "faithfulness",
        "Visual faithfulness",
        "Are the objects, their attributes and their relations those of the image?",
        (
            "Severely inaccurate",
            "Partially inaccurate",
            "Moderately accurate",
            "Accurate",
            "Highly accurate",
        ),
    ),
    Criterion(
        "helpfulness",
        "Helpfulness",
        "Does it follow the instructions, and help to understand the image or the task?",
        ("Not helpful", "Partially helpful", "Moderately helpful", "Helpful", "Very helpful"),
    ),
    Criterion(
        "ethics",
        "Ethics",
        "Is it safe, fair and free of harm, and does it keep private what is private?",
        (
            "Highly unsafe or harmful",
            "Unsafe or potentially harmful",
            "Moderately ethical",
            "Ethically compliant",
            "Highly ethical and safe",
        ),
    ),
)
"""Paper App. B.1 to B.3, the scales in their order there."""

TIES: Final[dict[Tie, str]] = {
    "none": "No two responses are tied",
    "poor": "Tied responses are all poor: write a correct answer below",
    "good": "Tied responses are all good: write an erroneous version of one below",
    "mixed": "Tied, but neither of these",
}
"""Tie status (paper 2.3.1 and App. B.4.4)."""

FLAGS: Final[dict[Flag, str]] = {
    "ok": "The question can be answered",
    "confusing": "Confusing: it contradicts its options or the image",
    "incomplete": "Incomplete: a needed condition is missing",
    "unanswerable": "Unanswerable: what it asks for is not in the image",
}
"""What may be wrong with a question (paper App. D.1 and D.2)."""

DECISIONS: Final[dict[Decision, str]] = {
    "accept": "Accept the annotation",
    "revise": "Revise it: my answers here count",
    "reject": "Reject it: the task is to be annotated again",
}
"""What a reviewer may decide; annotators leave it open."""

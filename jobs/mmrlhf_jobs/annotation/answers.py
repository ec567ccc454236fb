"""Answers of annotators in one form, whatever tool they were given in.

Fields of an answer are named alike for all tools, and errors name them so: ``A.rank``,
``A.faithfulness``, ``A.helpfulness``, ``A.ethics`` and ``A.reason`` for the response in slot A, and
``basis``, ``tie``, ``question_flag``, ``constructed_positive``, ``constructed_negative``,
``derived_from`` and ``decision`` for the task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mmrlhf_jobs.annotation.rubric import RUBRIC

__all__ = ["SLOT_FIELDS", "TASK_FIELDS", "Answer", "AnsweredTask"]

SLOT_FIELDS: Final = ("rank", *(criterion.name for criterion in RUBRIC), "reason")
"""What is asked about each response."""

TASK_FIELDS: Final = (
    "basis",
    "tie",
    "question_flag",
    "constructed_positive",
    "constructed_negative",
    "derived_from",
    "decision",
)
"""What is asked about all of them together."""


@dataclass(frozen=True)
class Answer:
    """What one annotator said about one task, not checked yet.

    Attributes:
        place: Where it is in the tool, such as ``annotation 7``.
        annotator: Id of the annotator in the tool, which is no name.
        updated_at: When it was last changed; sorts as text.
        fields: Values by name; see the module.
        seconds: Time that the tool measured.
    """

    place: str
    annotator: str
    updated_at: str
    fields: Mapping[str, object]
    seconds: float | None = None


@dataclass(frozen=True)
class AnsweredTask:
    """A task as the tool gives it back.

    Attributes:
        tool: Name of the tool.
        number: Id of the task in the tool.
        task_id: Its id in the key.
        question: The question that was shown.
        texts: The texts that were shown, by slot.
        answers: Submitted answers.
        set_aside: What was not read, counted: ``cancelled`` and ``draft`` answers, and
            ``prediction`` of models.
    """

    tool: str
    number: str
    task_id: str
    question: str
    texts: Sequence[str]
    answers: Sequence[Answer]
    set_aside: Counter[str] = field(default_factory=Counter)

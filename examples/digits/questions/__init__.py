"""Questions about a scene, with right, flawed and useless answers to each.

Each function of :data:`QUESTIONS` turns a scene into a :class:`~examples.digits.claims.Task`. The
five categories are those of the paper (section 2.2, Table 1).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from examples.digits.claims import Task
from examples.digits.questions.choice import ask_choice
from examples.digits.questions.long import ask_description
from examples.digits.questions.safety import ask_misuse, ask_own_code
from examples.digits.questions.short import (
    ask_count,
    ask_extreme,
    ask_occurrences,
    ask_parity,
    ask_position,
    ask_reading,
)
from examples.digits.questions.video import (
    ask_video_count,
    ask_video_description,
    ask_video_position,
    ask_video_reading,
)
from examples.digits.scenes import Scene
from mmrlhf_jobs.data.records import Category

__all__ = ["QUESTIONS"]

QUESTIONS: dict[Category, tuple[Callable[[Scene, Random], Task], ...]] = {
    "long": (ask_description,),
    "short": (
        ask_reading,
        ask_count,
        ask_occurrences,
        ask_extreme,
        ask_position,
        ask_parity,
    ),
    "mcq": (ask_choice,),
    "safety": (ask_misuse, ask_own_code),
    "video": (ask_video_reading, ask_video_count, ask_video_position, ask_video_description),
}
"""The questions of each category; each is asked equally often within its category."""

"""What a running job tells: its events, and the one table of the figures in them.

One JSON object an event::

    {"event": "phase", "phase": "reference", "message": "..."}
    {"event": "step", "step": 3, "totalSteps": 100, "loss": 0.61, "margin": 0.4, ...}
    {"event": "notice", "message": "..."}
    {"event": "done", "artifacts": "file:///...", "metrics": {...}}

All that pass figures on go by `FIGURES`: the log line of the job, the operator, ``status.progress``
and kubectl's columns, the command line. A new figure is one entry, and the place in the job that
tells it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeGuard

from mmrlhf_api.bounds import MAX_COUNT

__all__ = [
    "ACCURACY",
    "ETA",
    "EVALUATED_STEP",
    "FIGURES",
    "HELD_OUT",
    "ITEMS_DONE",
    "ITEMS_TOTAL",
    "MARGIN",
    "MAX_FIGURE",
    "MEDIA_EMBEDDED",
    "ROWS_READ",
    "ROWS_SELECTED",
    "SECONDS",
    "STAGE",
    "STEP",
    "TOKENS_PER_SECOND",
    "TOTAL_STEPS",
    "Course",
    "EventName",
    "Figure",
    "is_number",
]

MAX_FIGURE = 1e30
"""No figure is larger, whatever it measures; what is comes from a writer that lies or is broken."""
SECONDS = "s"
"""Unit of spans of time, which readers may write as they write others."""
_MAX_SPAN = 1e10


class Course(StrEnum):
    """How jobs advance: kinds of one course tell the same figures."""

    STEPS = "steps"
    """By steps of an optimizer."""
    STAGES = "stages"
    """Through data in stages, whose parts are no steps that tell anything."""
    ITEMS = "items"
    """Through items in stages: queries, questions or rows, whose number may be known."""


class EventName(StrEnum):
    """Names of events."""

    PHASE = "phase"
    """Another part of the work begins."""
    STEP = "step"
    """A step is done; carries the figures."""
    NOTICE = "notice"
    """Something that the user should know."""
    DONE = "done"
    """The job has finished, and its artifacts are whole."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a ``step`` event.

    Attributes:
        name: Its name on the wire, in events and in ``status.progress``.
        type: int for a count from 0 to 2**53, float for a number, str for a word.
        about: What it is; the description in the CRDs and the reference.
        unit: What it counts or is measured in; empty for a plain number.
        text: Place of number and unit in a line for people, such as ``loss {}``; empty: no line of
            figures has it.
        form: Format of the number in the lines of a running job.
        brief: Format of the number in a summary; by default that of ``form``.
        title: Title of its column in lists of jobs; empty: no list has it.
        course: Course of the jobs that tell it; None: all.
        also: Other courses whose jobs tell it.
        mixed: Whether a column of it is also shown in lists of jobs of several courses.
        rate: Whether it is about the present stage alone, and forgotten when the next begins.
        least: The least that a float may be; what is less is no figure.
        most: The most that it may be.
    """

    name: str
    type: type[int] | type[float] | type[str] = float
    about: str
    unit: str = ""
    text: str = ""
    form: str = ",.0f"
    brief: str = ""
    title: str = ""
    course: Course | None = None
    also: tuple[Course, ...] = ()
    mixed: bool = True
    rate: bool = False
    least: float = -MAX_FIGURE
    most: float = MAX_FIGURE

    @property
    def field(self) -> str:
        """Name of its field in Python."""
        return re.sub("([A-Z])", r"_\1", self.name).lower()

    def of(self, course: Course) -> bool:
        """Whether it is a figure of a course."""
        return self.course in {None, course} or course in self.also

    def read(self, value: object) -> float | None:
        """Return the number of an event; None for what is none of the figure's type and range."""
        if not is_number(value):
            return None
        if self.type is int:
            return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else None
        return value if self.type is float and self.least <= value <= self.most else None

    def describe(
        self, value: float, *, brief: bool = False, span: Callable[[float], str] | None = None
    ) -> str:
        """Return the figure in words, such as ``loss 0.6931`` or ``42 s left``.

        Args:
            value: The number.
            brief: Whether this is for a summary.
            span: Writes seconds in a way of the reader's own.
        """
        if span is not None and self.unit == SECONDS:
            return self.text.format(span(value))
        number = format(value, (brief and self.brief) or self.form)
        return self.text.format(f"{number} {self.unit}" if self.unit else number)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value out of JSON is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


STEP = Figure(
    name="step",
    type=int,
    about="Optimizer steps done; of a ClusterSampleJob, parts of its stages.",
    title="Step",
    course=Course.STEPS,
)
TOTAL_STEPS = Figure(
    name="totalSteps",
    type=int,
    about="Steps in all, as far as they are known.",
    course=Course.STEPS,
)
STAGE = Figure(
    name="stage",
    type=str,
    about="Stage that the job is in, such as read, embed or cluster.",
    title="Stage",
    course=Course.STAGES,
    also=(Course.ITEMS,),
    mixed=False,
)
MARGIN = Figure(
    name="margin",
    about="Mean margin between preferred and other responses at the latest step, in units of"
    " beta times log-probability.",
    text="margin {}",
    form=".4f",
    brief=".4g",
    title="Margin",
    course=Course.STEPS,
)
ACCURACY = Figure(
    name="accuracy",
    about="Part of the pairs, 0 to 1, whose margin is above 0 at the latest step.",
    text="accuracy {}",
    form=".3f",
    title="Accuracy",
    course=Course.STEPS,
    least=0.0,
    most=1.0,
)
ROWS_READ = Figure(
    name="rowsRead",
    type=int,
    about="Rows (questions) that a ClusterSampleJob has read, left out or not.",
    unit="rows",
    text="{} read",
    title="Read",
    course=Course.STAGES,
)
MEDIA_EMBEDDED = Figure(
    name="mediaEmbedded",
    type=int,
    about="Images and videos that it has made vectors of, or found in the store of vectors.",
    unit="media",
    text="{} embedded",
    title="Embedded",
    course=Course.STAGES,
    mixed=False,
)
ROWS_SELECTED = Figure(
    name="rowsSelected",
    type=int,
    about="Rows that it has chosen.",
    unit="rows",
    text="{} selected",
    title="Selected",
    course=Course.STAGES,
)
ITEMS_DONE = Figure(
    name="itemsDone",
    type=int,
    about="Items that a StepJob is done with in its stage, such as queries or questions.",
    title="Done",
    course=Course.ITEMS,
    mixed=False,
)
ITEMS_TOTAL = Figure(
    name="itemsTotal",
    type=int,
    about="Items of its stage, as far as they are known.",
    title="Of",
    course=Course.ITEMS,
    mixed=False,
)
TOKENS_PER_SECOND = Figure(
    name="tokensPerSecond",
    about="Tokens forwarded per second over all processes.",
    unit="tokens/s",
    text="{}",
    course=Course.STEPS,
    rate=True,
    least=0.0,
)
ETA = Figure(
    name="etaSeconds",
    about="Estimated seconds to the end; of a job in stages, to the end of its stage.",
    unit=SECONDS,
    text="{} left",
    form=".0f",
    title="ETA",
    rate=True,
    least=0.0,
    most=_MAX_SPAN,
)
EVALUATED_STEP = Figure(
    name="evaluatedStep",
    type=int,
    about="Step after which held-out data was evaluated last; training.evaluateEverySteps asks for"
    " it.",
    course=Course.STEPS,
)
HELD_OUT: Final[Mapping[str, str]] = {
    "PreferenceAccuracy": "Part of the held-out pairs whose better response is the likelier one",
    "PreferenceMargin": "Mean held-out margin of log-probabilities, nats",
    "RewardAccuracy": "Part of the held-out pairs whose implicit reward margin is above 0",
    "RewardMargin": "Mean held-out implicit reward margin, nats",
    "Acc": "Part of the held-out pairs that a reward model ranks rightly",
    "AccPlus": "Part of the held-out queries of which it ranks all pairs rightly",
    "CritiqueLoss": "Token mean of the held-out loss of critiques, nats",
}
"""Measures on held-out data that trainings tell on the way (`heldOut` and the name) and in the end
(`after` and the name), and what each is."""
FIGURES: tuple[Figure, ...] = (
    STEP,
    TOTAL_STEPS,
    STAGE,
    ITEMS_DONE,
    ITEMS_TOTAL,
    Figure(
        name="loss",
        about="Loss of the latest step.",
        text="loss {}",
        form=".4f",
        brief=".4g",
        title="Loss",
        course=Course.STEPS,
    ),
    MARGIN,
    ACCURACY,
    TOKENS_PER_SECOND,
    Figure(
        name="checkpointSeconds",
        about="Seconds that this attempt has waited for checkpoints: for the one that it goes on"
        " from, and in its steps for those that are uploaded while the training goes on.",
        unit=SECONDS,
        form=".0f",
        course=Course.STEPS,
        least=0.0,
        most=_MAX_SPAN,
    ),
    Figure(
        name="checkpointsFailed",
        type=int,
        about="Checkpoints of this attempt that could not be saved; the training went on.",
        course=Course.STEPS,
    ),
    Figure(
        name="dataSeconds",
        about="Seconds that the steps of this attempt have waited for their queries, which are read"
        " and encoded while the step before is computed.",
        unit=SECONDS,
        form=".0f",
        course=Course.STEPS,
        least=0.0,
        most=_MAX_SPAN,
    ),
    EVALUATED_STEP,
    *(
        Figure(name=f"heldOut{name}", about=f"{about}, at evaluatedStep.", course=Course.STEPS)
        for name, about in HELD_OUT.items()
    ),
    ROWS_READ,
    MEDIA_EMBEDDED,
    ROWS_SELECTED,
    Figure(
        name="itemsPerSecond",
        about="Rows or media a second of the stage that it is in, over all processes.",
        unit="a second",
        text="{}",
        course=Course.STAGES,
        also=(Course.ITEMS,),
        rate=True,
        least=0.0,
    ),
    ETA,
)
"""All figures, in the order in which people read them."""

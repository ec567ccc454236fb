"""How safe a policy's answers are (paper 5.2, Tables 3 and 6)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import DnsLabel, DnsName, Fraction, Word
from mmrlhf_api.steps.judges import Judges
from mmrlhf_api.uris import Uri

__all__ = ["Measure", "SafetyPart", "SafetyPlan", "SafetySettings", "SafetyTask"]

Measure = Literal["asr", "rta", "ratio"]
"""ASR, RtA or Ratio of Table 6."""


class SafetyTask(ApiModel):
    """One task: what is asked, what is measured, and who judges."""

    name: DnsLabel
    """Name in figures and reports."""
    records: Uri
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern. query.reference_answer says in
    words what a request is for, where its text does not; for ratio, what an answer is to tell."""
    judge: DnsLabel
    """Name of its judge."""
    measures: Annotated[
        tuple[Measure, ...], Strict(strict=False), MinLen(1), MaxLen(3), ListOf("set")
    ]
    """asr: share of harmful answers; rta: share of refusals; ratio: share of answers that tell what
    query.reference_answer names."""
    lower_is_better: bool = False
    """Whether less of a ratio is better, as where answers tell what an attack has put in."""

    rules = (
        Rule(
            "!self.measures.exists(one, one == 'ratio') || self.measures.size() == 1",
            "ratio asks another question than asr and rta; give it a task of its own",
            field="measures",
            check=lambda self: "ratio" not in self.measures or len(self.measures) == 1,
        ),
        Rule(
            "!has(self.lowerIsBetter) || !self.lowerIsBetter"
            " || self.measures.exists(one, one == 'ratio')",
            "lowerIsBetter is for ratio; less of asr and more of rta are better as it is",
            field="lowerIsBetter",
            check=lambda self: not self.lower_is_better or "ratio" in self.measures,
        ),
    )


def _names(plan: SafetyPlan) -> dict[str, bool]:
    """Judges by name, and whether each is a server."""
    return {judge.name: judge.server is not None for judge in plan.judges}


class SafetyPlan(ApiModel):
    """Tasks and their judges."""

    judges: Judges
    """Judges by name."""
    tasks: Annotated[
        tuple[SafetyTask, ...], Strict(strict=False), MinLen(1), MaxLen(32), ListOf("map", "name")
    ]
    """Tasks by name."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.tasks.all(task, self.judges.exists(judge, judge.name == task.judge))",
            "each task must name one of the judges",
            field="tasks",
            check=lambda self: all(one.judge in _names(self) for one in self.tasks),
        ),
        Rule(
            "self.tasks.all(task, !task.measures.exists(one, one == 'ratio')"
            " || !self.judges.exists(judge, judge.name == task.judge && !has(judge.server)))",
            "ratio needs a judge with a server: what an answer tells is no matter of patterns",
            field="tasks",
            check=lambda self: all(
                _names(self).get(one.judge, True) for one in self.tasks if "ratio" in one.measures
            ),
        ),
    )


class SafetySettings(ApiModel):
    """Whose answers are judged, and what may go wrong."""

    model: Word | None = None
    """Name of the model whose responses count, where queries have those of several."""
    max_error_fraction: Fraction = 0.01
    """Share of a task's answers that may stay without a judgement; errors are in no figure."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no queries; they are left out."""


class SafetyPart(SafetySettings, SafetyPlan):
    """Judges answers to harmful requests, and to pictures that mislead."""

    responses: Uri | None = None
    """Query/v1 with responses to the tasks' requests: a file, a folder or a pattern."""
    responses_job: DnsName | None = None
    """StepJob in the same namespace whose responses these are, of step answers or responses; the
    job waits until it has succeeded."""

    rules = (
        *SafetyPlan.rules,
        Rule(
            "has(self.responses) != has(self.responsesJob)",
            "give exactly one of responses and responsesJob",
            check=lambda self: (self.responses is None) != (self.responses_job is None),
        ),
    )

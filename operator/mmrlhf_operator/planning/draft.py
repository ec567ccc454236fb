"""The status of a job and what is to be done about it, while a plan is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mmrlhf_api import JobStatus, PodCounts, Progress
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhf_api.progress import STAGE, STEP
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.planning.actions import Action, Plan
from mmrlhf_operator.planning.conditions import Conditions, in_words
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import JobView, ProgressReport, after

__all__ = ["Draft"]


@dataclass
class Draft:
    """A plan in the making.

    Attributes:
        view: The job.
        now: Time of the decision.
    """

    view: JobView
    now: datetime

    def __post_init__(self) -> None:
        self.conditions = Conditions(
            self.view.status.conditions, now=self.moment, generation=self.view.generation
        )
        self.actions: list[Action] = []
        self._wakes: list[datetime] = []
        self._changes: dict[str, Any] = {}
        self._status: JobStatus | None = None

    @property
    def moment(self) -> datetime:
        """Time of the decision as it is written."""
        return whole(self.now)

    @property
    def stem(self) -> str:
        """What names of pods begin with."""
        return self.status.pod_stem or self.view.name

    @property
    def status(self) -> JobStatus:
        """The status so far."""
        conditions = self.conditions.all()
        # Every decision asks for it: it is put together once for each change.
        if self._status is None or self._status.conditions is not conditions:
            changes = {**self._changes, "conditions": conditions}
            self._status = self.view.status.model_copy(update=changes)
        return self._status

    def change(self, **fields: object) -> None:
        """Change fields of the status."""
        self._changes |= fields
        self._status = None

    def enter(self, phase: Phase, reason: str, message: str = "") -> None:
        """Enter a phase, or stay in it for another reason; see `in_words` for the message."""
        self.change(phase=phase, reason=reason, message=in_words(reason, message))

    def count(self, pods: Iterable[PodView], *, total: int) -> None:
        """Write down how many pods are ready."""
        ready = sum(pod.ready for pod in pods)
        self.change(pods=PodCounts(ready=ready, total=total, summary=f"{ready}/{total}"))

    def wait_from_now(self) -> None:
        """Say that pods wait, unless they did before."""
        if self.status.pending_since is None:
            self.change(pending_since=self.moment)

    def end_attempt(self, reason: str, message: str = "") -> None:
        """Say that what held for the attempt's pods does not hold any more."""
        self.change(ended_well=None)
        for kind in (
            ConditionType.SCHEDULED,
            ConditionType.RUNNING,
            ConditionType.PROGRESSING,
        ):
            self.conditions.clear(kind, reason, message)

    def wake(self, moment: datetime | None) -> None:
        """Plan again at a time."""
        if moment is not None:
            self._wakes.append(moment)

    def report(self, report: ProgressReport | None, *, seconds: float) -> None:
        """Write down progress: with any other change, or when the last is old enough."""
        if report is None or report.step is None or report.attempt != self.status.attempt:
            return
        latest = Progress.model_validate(
            {
                **report.figures,
                STEP.name: report.step,
                STAGE.name: report.stage,
                "updated_at": whole(report.at),
            }
        )
        old = self.view.status.progress
        if old is not None and _same(old, latest):
            return
        if old is None or old.updated_at is None or self.status != self.view.status:
            self.change(progress=latest)
            return
        due = after(old.updated_at, seconds)
        if self.now >= due:
            self.change(progress=latest)
        else:
            self.wake(due)

    def plan(self) -> Plan:
        """Return the plan."""
        status = self.status
        if status != self.view.status:
            status = status.model_copy(update={"observed_generation": self.view.generation})
        seconds = [max(0.0, (wake - self.now).total_seconds()) for wake in self._wakes]
        return Plan(
            status=status,
            actions=tuple(self.actions),
            requeue_after=min(seconds, default=None),
        )


def _same(old: Progress, new: Progress) -> bool:
    return old.model_copy(update={"updated_at": None}) == new.model_copy(
        update={"updated_at": None}
    )

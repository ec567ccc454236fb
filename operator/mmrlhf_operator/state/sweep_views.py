"""What is known of a sweep, and of the jobs of its points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmrlhf_api.sweeps.types import Sweep, SweepStatus
from mmrlhf_operator.state.runs import ChildView, FlowView, identity, parse_flow, read_status
from mmrlhf_operator.state.views import Finding

__all__ = ["ParsedSweep", "SweepObserved", "SweepView"]


@dataclass(frozen=True)
class ParsedSweep:
    """What a generation of a sweep says; to judge all its points takes a moment.

    Attributes:
        generation: Version of the spec.
        sweep: The sweep; None when it is not valid.
        problem: Why it is not valid.
    """

    generation: int
    sweep: Sweep | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class SweepView(FlowView):
    """A sweep as the API server has it; see `FlowView`.

    Attributes:
        sweep: The sweep; None when it is not valid.
        suspend: What ``spec.suspend`` says, valid or not.
        cancel: What ``spec.cancel`` says, valid or not.
        status: Its status.
    """

    sweep: Sweep | None
    suspend: bool
    cancel: bool
    status: SweepStatus

    @property
    def parsed(self) -> ParsedSweep:
        """What need not be found out again for this generation."""
        return ParsedSweep(self.generation, self.sweep, self.problem)

    @classmethod
    def read(cls, body: Mapping[str, Any], known: ParsedSweep | None = None) -> SweepView:
        """Read an object of the API server.

        Args:
            body: The object.
            known: What an earlier look has found; taken if it was at the same generation.

        Raises:
            StatusUnreadableError: The status has fields of wrong types.
        """
        facts = identity(body)
        if known is None or known.generation != facts["generation"]:
            found, problem = parse_flow(body)
            sweep = found if isinstance(found, Sweep) else None
            known = ParsedSweep(facts["generation"], sweep, problem)
        spec = body.get("spec") or {}
        return cls(
            **facts,
            problem=known.problem,
            sweep=known.sweep,
            suspend=spec.get("suspend") is True,
            cancel=spec.get("cancel") is True,
            status=read_status(SweepStatus, body),
        )


@dataclass(frozen=True, kw_only=True)
class SweepObserved:
    """Everything besides the sweep itself.

    Attributes:
        children: By point, the job of the name that the point's job has, whoever made it.
        conflicts: What was in the way of creating the job of a point.
    """

    children: Mapping[str, ChildView] = field(default_factory=dict)
    conflicts: Mapping[str, Finding] = field(default_factory=dict)

"""All steps by name. A new one is a module with a ``STEP`` and a line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.steps.step import Step

__all__ = ["MODULES", "find_step", "step_names"]

MODULES: Final[dict[str, str]] = {
    "score": "mmrlhf_jobs.steps.score",
    "critiques": "mmrlhf_jobs.steps.critiques",
    "responses": "mmrlhf_jobs.steps.responses",
    "improve": "mmrlhf_jobs.steps.improve",
    "answers": "mmrlhf_jobs.steps.answers",
    "preferences": "mmrlhf_jobs.steps.preferences",
    "safety": "mmrlhf_jobs.steps.safety",
    "compare": "mmrlhf_jobs.steps.compare",
    "report": "mmrlhf_jobs.steps.report",
    "lmms-eval": "mmrlhf_jobs.steps.lmms_eval",
    "bench": "mmrlhf_jobs.steps.bench",
    "estimate": "mmrlhf_jobs.steps.estimate",
    "gate": "mmrlhf_jobs.steps.gate",
    "prune": "mmrlhf_jobs.steps.prune",
    "alias": "mmrlhf_jobs.steps.alias",
    "annotate-export": "mmrlhf_jobs.steps.annotation_export",
    "annotate-import": "mmrlhf_jobs.steps.annotation_import",
    "import": "mmrlhf_jobs.steps.data_import",
    "export": "mmrlhf_jobs.steps.data_export",
}
"""Module of each step: only the one that is asked for is loaded."""


def step_names() -> tuple[str, ...]:
    """Names of all steps."""
    return tuple(MODULES)


def find_step(name: str) -> Step[Any]:
    """The step of a name.

    Raises:
        SpecError: There is none.
    """
    if name not in MODULES:
        raise SpecError(f"step: there is no {name!r}; it must be one of {', '.join(MODULES)}")
    step: Step[Any] = import_module(MODULES[name]).STEP
    return step

"""Runs a step from its command line or from a file: one way for all of them.

Standard output holds what the step has to say, mostly a report as JSON. Progress goes where that of
jobs goes, and for people to standard error.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrlhf_api import JobFileError
from mmrlhf_api.errors import Problem
from mmrlhf_api.jobfile import load_document, parse_object
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.imports import many_imports
from mmrlhf_jobs.process.ending import end
from mmrlhf_jobs.process.stopping import stopped_by_signals
from mmrlhf_jobs.reporting.progress import progress_from_environment
from mmrlhf_jobs.steps.command_line import parse_arguments
from mmrlhf_jobs.steps.registry import find_step
from mmrlhf_jobs.steps.spec import StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

if TYPE_CHECKING:
    from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["load_step", "run_command", "run_file"]


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Run a step as its command line says; return the exit code."""

    def work() -> int:
        step = find_step(name)
        return _run(step, parse_arguments(step, arguments))

    return end(work)


def run_file(arguments: Sequence[str]) -> int:
    """Run the step of a file; return the exit code.

    Args:
        arguments: The file, YAML or JSON, ``-`` for standard input.
    """

    def work() -> int:
        if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
            raise SpecError("python -m mmrlhf_jobs step FILE: takes one file, YAML or JSON")
        return _run(*load_step(arguments[0]))

    return end(work)


def load_step(source: str | Path) -> tuple[Step[Any], StepSpec]:
    """Read the step of a file, by its field ``step``.

    Raises:
        JobFileError: The file cannot be read or is not valid; lists every problem.
        SpecError: There is no such step.
    """
    document, name = load_document(source)
    if not isinstance(document.data, Mapping) or not isinstance(document.data.get("step"), str):
        problem = Problem(field="step", message="is missing: it names the step, such as critiques")
        raise JobFileError(name, [problem])
    try:
        step = find_step(document.data["step"])
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from error
    return step, parse_object(step.spec, document, source=name)


def _run(step: Step[Any], spec: StepSpec) -> int:
    if step.shared:
        with many_imports():
            from mmrlhf_jobs.process.membership import run_in_gang

        return run_in_gang(lambda members: _share(step, spec, members), log=sys.stderr)
    _alone(step, spec)
    return 0


def _share(step: Step[Any], spec: StepSpec, members: TrainingContext) -> None:
    context = StepContext(
        scratch=members.scratch,
        storage=spec.storage.options(),
        progress=members.progress,
        members=members,
    )
    outcome = step.run(spec, context)
    if members.runtime.is_main:
        _tell_end(outcome, context)


def _alone(step: Step[Any], spec: StepSpec) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SpecError(
            f"{step.name} runs as one process, which does as much at once as it can; start it"
            " without torchrun"
        )
    progress = progress_from_environment(log=sys.stderr)
    try:
        with tempfile.TemporaryDirectory(prefix="mmrlhf-") as scratch, stopped_by_signals():
            context = StepContext(Path(scratch), spec.storage.options(), progress)
            _tell_end(step.run(spec, context), context)
    finally:
        progress.close()


def _tell_end(outcome: Outcome, context: StepContext) -> None:
    if outcome.then is not None:
        outcome.then()
    figures = {
        name: value
        for name, value in outcome.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    context.progress.emit("done", artifacts=outcome.artifacts, metrics=figures)

"""``mmrlhfctl run``: shows what `mmrlhf.run` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mmrlhf.local.run import RunResult, run
from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import load_document, override, parse_job
from mmrlhf_api.kinds import Job
from mmrlhf_api.pipelines import is_pipeline, parse_pipeline
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.sweeps.types import Sweep
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.local.display import make_display
from mmrlhfctl.local.pipeline import run_steps
from mmrlhfctl.local.sweep import check_local, run_points
from mmrlhfctl.terminal import out
from mmrlhfctl.validation import invalid

__all__ = ["run_job"]


def run_job(
    file: str,
    *,
    local: bool,
    assignments: Sequence[str],
    fresh: bool,
    state_dir: Path | None,
    as_json: bool,
) -> int:
    """Run a job file, or that of a sweep or a pipeline, to its end and return the exit code.

    Args:
        file: Job file; ``-`` for standard input.
        local: Run on this machine; there is `submit` for a cluster.
        assignments: Changes to the file, such as ``spec.training.epochs=2``.
        fresh: Start over instead of going on from a checkpoint.
        state_dir: Folder for logs and progress.
        as_json: Write the result as JSON.

    Raises:
        MmrlhfError: The job could not be run, or failed.
    """
    try:
        document, name = load_document(file)
        if is_pipeline(document):
            override(document.data, assignments, name)
            flow = parse_pipeline(document, source=name)
            show = {"local": local, "fresh": fresh, "as_json": as_json}
            if isinstance(flow, Sweep):
                return run_points(flow, file, state_dir=state_dir, **show)
            return run_steps(flow, file, state_dir=state_dir, **show)
        job = parse_job(document, source=name, overrides=assignments)
    except JobFileError as error:
        raise invalid(error) from error
    check_local(file, local=local)
    with make_display() as display:
        result = run(
            job, fresh=fresh, state_dir=state_dir, on_event=display.show, tell=display.tell
        )
    out(_result_json(job, result) if as_json else _result_text(job, result))
    return ExitCode.OK


def _result_text(job: Job, result: RunResult) -> str:
    lines = [f"{job.kind} {job.metadata.namespace}/{job.metadata.name} succeeded"]
    if result.artifacts is not None:
        lines.append(f"artifacts: {result.artifacts}")
    for name, value in sorted(result.metrics.items()):
        lines.append(f"{name}: {value:g}" if isinstance(value, int | float) else f"{name}: {value}")
    return "\n".join(map(make_safe, lines))


def _result_json(job: Job, result: RunResult) -> str:
    content = {
        "kind": job.kind,
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "phase": "Succeeded",
        "artifacts": result.artifacts,
        "metrics": dict(result.metrics),
    }
    return json.dumps(content, indent=2)

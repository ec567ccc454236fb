"""``mmrlhfctl run`` of a pipeline, or of a run: its steps one after another, as a tree."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from mmrlhf.errors import LocalRunError
from mmrlhf.local.pipeline import pipeline_folder, run_pipeline
from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import Phase
from mmrlhf_api.pipelines import AlignmentPipeline, AlignmentRun
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.local.display import make_display
from mmrlhfctl.local.sweep import check_local
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.runs import run_lines

__all__ = ["run_steps"]


def run_steps(
    flow: AlignmentPipeline | AlignmentRun,
    file: str,
    *,
    local: bool,
    fresh: bool,
    state_dir: Path | None,
    as_json: bool,
) -> int:
    """Run a pipeline to its end and return the exit code; see `mmrlhfctl.local.run.run_job`.

    Raises:
        MmrlhfError: It could not be run, or a step failed.
    """
    check_local(file, local=local)
    if isinstance(flow, AlignmentPipeline) and flow.spec.schedule is not None:
        note("note: its schedule is for a cluster; this is one run now")
    with make_display() as display:
        found = run_pipeline(
            flow, fresh=fresh, state_dir=state_dir, on_event=display.show, tell=display.tell
        )
    body = wire_dict(found)
    if as_json:
        out(json.dumps(body, indent=2))
    else:
        out("\n".join(run_lines(body, datetime.now(UTC), colours=colours_wanted(sys.stdout))))
    note(f"wrote {pipeline_folder(flow, state_dir) / 'run.json'}")
    if found.status is None or found.status.phase is not Phase.SUCCEEDED:
        raise LocalRunError("not all steps have succeeded; the same command goes on from there")
    return ExitCode.OK

"""``mmrlhfctl run`` of a sweep: its points one after another, a table, and a page."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from mmrlhf.errors import LocalRunError
from mmrlhf.local.sweep import run_sweep, sweep_folder
from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import Phase
from mmrlhf_api.sweeps.types import Sweep
from mmrlhf_jobs.pages.sweep import render_sweep
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.local.display import make_display
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.sweeps import sweep_lines

__all__ = ["check_local", "run_points"]


def check_local(file: str, *, local: bool) -> None:
    """Refuse to run anything that was not asked to run here.

    Raises:
        CliError: It was not.
    """
    if not local:
        raise CliError(
            "run works on this machine: add --local; to run the job on a cluster, use "
            f"{program_name()} submit -f {file}",
            code=ExitCode.USAGE,
        )


def run_points(
    sweep: Sweep, file: str, *, local: bool, fresh: bool, state_dir: Path | None, as_json: bool
) -> int:
    """Run a sweep to its end and return the exit code; see `mmrlhfctl.local.run.run_job`.

    Raises:
        MmrlhfError: It could not be run, or no point was measured.
    """
    check_local(file, local=local)
    with make_display() as display:
        found = run_sweep(
            sweep, fresh=fresh, state_dir=state_dir, on_event=display.show, tell=display.tell
        )
    body = wire_dict(found)
    page = sweep_folder(sweep, state_dir) / "sweep.html"
    try:
        page.write_text(render_sweep(body), encoding="utf-8")
    except OSError as error:
        raise LocalRunError(f"cannot write to {page}: {error.strerror}") from error
    if as_json:
        out(json.dumps(body, indent=2))
    else:
        lines = sweep_lines(body, datetime.now(UTC), colours=colours_wanted(sys.stdout))
        out("\n".join(lines))
    note(f"wrote {page}")
    if found.status is None or found.status.phase is not Phase.SUCCEEDED:
        raise LocalRunError(
            f"no point of the sweep has a figure {sweep.spec.objective.metric}; the table says why"
        )
    return ExitCode.OK

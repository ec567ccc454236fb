"""``report`` of a sweep: drawn of its object on the cluster, or of the file of a local one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from mmrlhf.client.cluster import Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.runs import read, run_targets
from mmrlhf_api.pipelines import SWEEP
from mmrlhf_jobs.pages.sweep import render_sweep
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, out
from mmrlhfctl.text.sweeps import sweep_lines
from mmrlhfctl.verbs.page_files import open_page, write_page

__all__ = ["found_sweep", "show_sweep"]


def found_sweep(connection: Connection, words: Sequence[str]) -> Manifest | None:
    """Return the sweep that the arguments of ``report`` name; None where they name none.

    Raises:
        MmrlhfError: It is not there, is no sweep but a pipeline or a run, or there are several.
    """
    if len(words) == 1 and words[0].endswith(".json") and Path(words[0]).is_file():
        return _of_file(Path(words[0]))
    if len(words) == 1 and "://" in words[0]:
        return None
    if len(words) == 1 and Path(words[0]).exists():
        return None
    targets = run_targets(words)
    if targets is None:
        return None
    if len(targets.named) != 1 or targets.named[0][0] is not SWEEP:
        raise CliError(
            f"{' '.join(words)}: name one sweep (sw/NAME), or the job of a step",
            code=ExitCode.USAGE,
        )
    return read(open_cluster(connection), targets)[0]


def show_sweep(body: Manifest, *, as_text: bool, open_it: bool, output: str | None) -> None:
    """Draw a sweep, or tell it in words.

    Raises:
        CliError: The page cannot be written.
    """
    if as_text:
        lines = sweep_lines(body, datetime.now(UTC), colours=colours_wanted(sys.stdout))
        out("\n".join(lines))
        return
    path = Path(output if output is not None else f"{body['metadata']['name']}.html")
    write_page(path, render_sweep(body))
    if open_it:
        open_page(path)
    out(str(path))


def _of_file(path: Path) -> Manifest:
    try:
        body: Manifest = json.loads(path.read_text(encoding="utf-8"))
        SWEEP.model.model_validate(body, by_alias=True, by_name=False)
    except (OSError, ValueError, ValidationError) as error:
        raise CliError(
            f"{path} is no sweep as `run --local` leaves one (sweep.json)", code=ExitCode.USAGE
        ) from error
    return body

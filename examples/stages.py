"""What the examples' ``run`` modules share: stages, a job file run here, a table in a document."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

__all__ = ["ROOT", "code_digest", "put_table", "run_job", "run_stage"]

ROOT: Final = Path(__file__).resolve().parents[1]


def run_stage(
    console: Console, title: str, done: Path, stamp: str, work: Callable[[], object]
) -> None:
    """Do some work, unless it was done before with the same code.

    Args:
        console: Is told.
        title: What it is.
        done: File that says so; it holds the stamp.
        stamp: Digest of the code.
        work: What is done.
    """
    console.rule(title, align="left", style="none")
    if done.is_file() and done.read_text() == stamp:
        console.print("done before, with the same code")
        return
    began = time.monotonic()
    done.unlink(missing_ok=True)
    work()
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text(stamp)
    console.print(f"took {time.monotonic() - began:.0f} s")


def run_job(
    job: Path, settings: Mapping[str, object], *, name: str, out: Path, stamp: str
) -> tuple[int, dict[str, Any]]:
    """Run a job file by ``mmrlhfctl run --local``; an interrupted run of the same code goes on.

    Args:
        job: The job file.
        settings: What is set in it, by path.
        name: Of the job.
        out: Folder of the example; artifacts are in its ``artifacts``.
        stamp: Digest of the code.

    Returns:
        The exit code, and the manifest with the run's ``folder``; empty after a failure.
    """
    mark = out / f"{job.stem.removeprefix('job-')}.started"
    fresh = not (mark.is_file() and mark.read_text() == stamp)
    mark.write_text(stamp)
    command = [sys.executable, "-m", "mmrlhfctl", "run", "-f", str(job), "--local"]
    for path, value in settings.items():
        command += ["--set", f"{path}={value}"]
    if fresh:
        command.append("--fresh")
    code = subprocess.run(command, check=False, cwd=ROOT).returncode
    if code != 0:
        return code, {}
    runs = (out / "artifacts" / "default" / name).glob("*/manifest.json")
    newest = max(runs, key=lambda path: path.stat().st_mtime)
    return 0, {**json.loads(newest.read_text()), "folder": str(newest.parent)}


def put_table(path: Path, name: str, lines: Sequence[str]) -> None:
    """Put lines between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` of a document."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    head, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(head + begin + "\n".join(lines) + "\n" + end + tail, encoding="utf-8")


def code_digest(example: str) -> str:
    """Digest of the code that the results of an example depend on, whose folder is given."""
    total = hashlib.sha256()
    for folder in (example, "jobs/mmrlhf_jobs", "crds/mmrlhf_api"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                total.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()

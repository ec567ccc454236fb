"""Folders of local runs.

::

    <state>/runs/<name>-<digest>/
        job.json                 the job as it runs, defaults included
        progress.jsonl           progress of the latest launch
        termination.json         why the latest launch failed
        logs/<launch>/           output of every process
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mmrlhf.errors import LocalRunError
from mmrlhf_api.kinds import Job
from mmrlhf_api.runs import laptop_uid
from mmrlhf_api.serialization import job_json

__all__ = ["RunFolder", "default_state_dir", "prepare_run"]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: of a name and what it computes, so that a changed spec is another."""

    path: Path

    @property
    def job(self) -> Path:
        """Job file that the processes read."""
        return self.path / "job.json"

    @property
    def progress(self) -> Path:
        """Progress of the latest launch, one JSON object a line."""
        return self.path / "progress.jsonl"

    @property
    def termination(self) -> Path:
        """Why the latest launch failed; absent when it did not."""
        return self.path / "termination.json"

    @property
    def logs(self) -> Path:
        """Folder with one folder of logs for each launch."""
        return self.path / "logs"


def default_state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where local runs keep their state (XDG base directory specification)."""
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mmrlhf"


@contextmanager
def prepare_run(job: Job, *, state_dir: Path) -> Iterator[RunFolder]:
    """Make the folder of a run ready for a launch and hold it against a second one.

    Raises:
        LocalRunError: The folder cannot be written, or the run is going on already.
    """
    name = f"{job.metadata.namespace}-{job.metadata.name}-{laptop_uid(job)}"
    folder = RunFolder((state_dir / "runs" / name).absolute())
    try:
        folder.logs.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LocalRunError(
            f"cannot write to {folder.path}: {error.strerror}; choose another state_dir"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode().strip()
            raise LocalRunError(f"this job is running already (process {holder})") from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        try:
            folder.job.write_text(job_json(job), encoding="utf-8")
            folder.progress.write_text("", encoding="utf-8")
            folder.termination.unlink(missing_ok=True)
        except OSError as error:
            raise LocalRunError(f"cannot write to {folder.path}: {error.strerror}") from error
        yield folder
    finally:
        os.close(lock)

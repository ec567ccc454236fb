"""The log of the node that this process launches."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

from mmrlhf_api import load_job
from mmrlhf_api.constants import DEFAULT_JOB_PATH, ENV_ATTEMPT, ENV_JOB, ENV_KEEP_LOGS
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.run_logs import LogPiece
from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.log_archive.archive import LogArchive
from mmrlhf_jobs.log_archive.following import FollowedFiles
from mmrlhf_jobs.log_archive.output import CopiedOutput
from mmrlhf_jobs.log_archive.secrets import secret_values
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["SECONDS", "keep_log"]

SECONDS = 20.0
"""Between two writes of a log."""
_MOST_BESIDE = 64 * 2**20
"""Bytes of a file that is kept beside a log."""


class _NodeLog:
    """The pieces of one node's log, in the artifact store of its job."""

    def __init__(self, job_file: Path, start: str, environ: Mapping[str, str]) -> None:
        job = load_job(job_file, accepted=True)
        artifacts = job.spec.artifacts
        # What waits here must be given up at the end: trying again is the archive's.
        options = StorageOptions(artifacts.endpoint, artifacts.region, patience=0.0)
        self._store = ArtifactStore(artifacts.uri, options)
        self._logs = RunLayout.of(job).logs
        self._attempt = int(environ.get(ENV_ATTEMPT, "0"))
        self._node = int(environ.get("PET_NODE_RANK", "0"))
        self._start = start
        self.secrets = secret_values(environ, job)
        self.uri = f"{artifacts.uri.rstrip('/')}/{self._logs}"

    def write(self, number: int, text: str) -> None:
        self._store.write_text(self._key(number), text)

    def remove(self, number: int) -> None:
        self._store.remove(self._key(number))

    def write_beside(self, folder: Path) -> list[str]:
        """Publish the files of a folder beside the log; return their names."""
        files = {file.name: file.read_bytes for file in _small_files(folder)}
        if files:
            place = LogPiece(self._attempt, self._node, self._start, 0).key.rpartition("/")[0]
            self._store.publish_made(files, f"{self._logs}/{place}/{folder.name}")
        return sorted(files)

    def _key(self, number: int) -> str:
        return f"{self._logs}/{LogPiece(self._attempt, self._node, self._start, number).key}"


@contextmanager
def keep_log(
    command: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    *,
    seconds: float = SECONDS,
    beside: Path | None = None,
) -> Iterator[None]:
    """Keep in the artifact store what is written by this process and those that it starts.

    Args:
        command: Words that the job's processes get; may name the job file.
        environ: Names the job file, attempt, node and torchrun's folder of logs.
        seconds: Between two writes.
        beside: Folder whose files are kept with the log in the end, under the folder's name.
    """
    if environ.get(ENV_KEEP_LOGS, "1") == "0":
        yield
        return
    start = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    job_file = _job_file(command, environ)
    open_log = partial(_NodeLog, job_file, start, environ)
    archive = LogArchive(open_log, tell=_say, seconds=seconds)
    output = CopiedOutput(archive.take)
    # Where processes have files of their own, their output does not pass through here.
    redirected = environ.get("PET_REDIRECTS", "0") != "0" and environ.get("PET_LOG_DIR")
    files = FollowedFiles(Path(redirected), archive) if redirected else None
    try:
        yield
    finally:
        _ignore_signals()
        if beside is not None:
            _keep_beside(open_log, beside)
        if files is not None:
            files.close()
        output.close()
        archive.close()


def _keep_beside(open_log: Callable[[], _NodeLog], folder: Path) -> None:
    """Keep what else tells how the job went; where that fails it is told, and the job goes on."""
    try:
        if _small_files(folder):
            log = open_log()
            names = log.write_beside(folder)
            _say(f"log: {', '.join(names)} are kept in {folder.name} beside the log at {log.uri}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the log itself is still to be kept
        _say(f"log: what is in {folder.name} cannot be kept: {error}")


def _small_files(folder: Path) -> list[Path]:
    """Files of a folder that are no longer than a log may be that waits."""
    return sorted(
        file for file in folder.iterdir() if file.is_file() and file.stat().st_size <= _MOST_BESIDE
    )


def _job_file(command: Sequence[str], environ: Mapping[str, str]) -> Path:
    for word, following in pairwise([*command, ""]):
        if word == "--job":
            return Path(following)
        if word.startswith("--job="):
            return Path(word.removeprefix("--job="))
    return Path(environ.get(ENV_JOB, DEFAULT_JOB_PATH))


def _ignore_signals() -> None:
    """The job has ended; whoever stops it now would only cut its log off. What follows is short."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(text: str) -> None:
    sys.stderr.write(f"{make_safe(text)}\n")
    sys.stderr.flush()

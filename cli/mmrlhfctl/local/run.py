"""``mmrlhfctl run``."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import load_job
from mmrlhf_api.kinds import Job
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.local.display import Display, make_display
from mmrlhfctl.local.events import Done, EventTail
from mmrlhfctl.local.folders import RunFolder, default_state_dir, prepare_run
from mmrlhfctl.local.outcome import Outcome, failure_outcome
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import out
from mmrlhfctl.validation import invalid

if TYPE_CHECKING:
    from mmrlhfctl.local.gang import LocalGang

__all__ = ["run_job"]

_POLL_SECONDS = 0.1
_STRAGGLER_SECONDS = 5.0
"""How long nodes may go on after another has failed; most notice by a closed connection."""
_KILL_SECONDS = 10.0
"""How long nodes of a failed gang may take to stop; there is nothing left to save."""


def run_job(
    file: str,
    *,
    local: bool,
    assignments: Sequence[str],
    fresh: bool,
    state_dir: Path | None,
    as_json: bool,
) -> int:
    """Run a job file to its end and return the exit code.

    Args:
        file: Job file; ``-`` for standard input.
        local: Run on this machine; there is `submit` for a cluster.
        assignments: Changes to the file, such as ``spec.training.epochs=2``.
        fresh: Start over instead of going on from a checkpoint.
        state_dir: Folder for logs and progress.
        as_json: Write the result as JSON.

    Raises:
        CliError: The job could not be run, or failed.
    """
    try:
        job = load_job(file, overrides=assignments)
    except JobFileError as error:
        raise invalid(error) from error
    if not local:
        raise CliError(
            "run works on this machine: add --local; to run the job on a cluster, use "
            f"{program_name()} submit -f {file}",
            code=ExitCode.USAGE,
        )
    _check_machine(job)
    with prepare_run(job, state_dir=state_dir or default_state_dir()) as folder:
        done = _run_locally(job, folder, fresh=fresh)
    out(_result_json(job, done) if as_json else _result_text(job, done))
    return ExitCode.OK


def _check_machine(job: Job) -> None:
    for module in ("torch", "torchx"):
        if importlib.util.find_spec(module) is None:
            raise CliError(
                f"local runs need {module}, which is not installed: pip install 'mmrlhf[jobs,cli]'"
            )
    missing = [
        variable.name
        for variable in job.spec.pod_template.env
        if variable.secret_key_ref is not None and variable.name not in os.environ
    ]
    if missing:
        raise CliError(
            f"{', '.join(missing)} would come from a Secret in the cluster; "
            "set it in the environment for a local run",
            code=ExitCode.USAGE,
        )
    resources = job.spec.resources
    needed = resources.nodes * resources.gpus_per_node
    if needed and needed > (available := _count_gpus()):
        raise CliError(
            f"the job asks for {needed} GPUs (spec.resources) and this machine has {available}; "
            "to run on CPUs add --set spec.resources.gpusPerNode=0",
            code=ExitCode.USAGE,
        )


def _count_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in {"", "-1"}])
    if shutil.which("nvidia-smi") is None:
        return 0
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def _run_locally(job: Job, folder: RunFolder, *, fresh: bool) -> Done | None:
    from mmrlhf_jobs.components import SHUTDOWN_SECONDS, component, place
    from mmrlhfctl.local.gang import LocalGang, local_environment

    launch = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    logs = folder.logs / launch
    resources = job.spec.resources
    env = local_environment(
        job_file=folder.job,
        progress=folder.progress,
        termination=folder.termination,
        logs=logs,
        port=_free_port(),
        processes=resources.world_size,
        fresh=fresh,
    )
    app = place(component(job), env)
    with make_display() as display, _signals() as received:
        display.tell(f"{job.kind} {job.metadata.namespace}/{job.metadata.name}: logs in {logs}")
        gang = LocalGang(
            app, log_dir=folder.logs, launch=launch, share_gpus=resources.gpus_per_node > 0
        )
        tail = EventTail(folder.progress)
        try:
            watch = _Watch(gang, tail, display, received, save_seconds=SHUTDOWN_SECONDS)
            failed_node = watch.until_end()
        finally:
            gang.close()
        watch.show_progress()
        if tail.not_understood:
            display.tell(f"note: {tail.not_understood} lines of progress were not understood")
    if failed_node is None:
        return watch.done
    outcome = failure_outcome(folder.termination, logs, failed_node=failed_node)
    if received:
        raise _stopped(received[0], outcome, folder)
    lines = [outcome.message]
    if outcome.log is not None:
        lines[0] += f"\nfull log: {outcome.log}"
    raise CliError(*lines, code=outcome.exit_code)


def _stopped(number: int, outcome: Outcome, folder: RunFolder) -> CliError:
    code = ExitCode.INTERRUPTED if number == signal.SIGINT else 128 + number
    told = f"{outcome.message}; " if folder.termination.exists() else ""
    return CliError(
        f"stopped: {told}the same command goes on from the latest checkpoint", code=code
    )


class _Watch:
    """Follows a gang to its end."""

    def __init__(
        self,
        gang: LocalGang,
        tail: EventTail,
        display: Display,
        received: Sequence[int],
        *,
        save_seconds: float,
    ) -> None:
        self._gang = gang
        self._tail = tail
        self._display = display
        self._received = received
        self._save_seconds = save_seconds
        self.done: Done | None = None

    def until_end(self) -> int | None:
        """Wait until all agents have ended; returns the node that failed first, if one did."""
        failed: int | None = None
        deadline = float("inf")  # when the next harder step is due
        asked = False
        while True:
            self.show_progress()
            codes = self._gang.exit_codes()
            if failed is None:
                failed = next((node for node, code in enumerate(codes) if code), None)
                if failed is not None and None in codes and not asked:
                    self._display.tell(f"node {failed} failed; the others stop as well")
                    deadline = time.monotonic() + _STRAGGLER_SECONDS
            if None not in codes:
                return failed
            if self._received and not asked:
                self._display.tell(
                    "stopping: the job saves a checkpoint first; press Ctrl-C again to kill it"
                )
                self._gang.terminate()
                asked = True
                deadline = time.monotonic() + self._save_seconds + _KILL_SECONDS
            elif len(self._received) > 1 or (asked and time.monotonic() > deadline):
                self._gang.kill()
            elif time.monotonic() > deadline:
                self._gang.terminate()
                asked = True
                deadline = time.monotonic() + _KILL_SECONDS
            time.sleep(_POLL_SECONDS)

    def show_progress(self) -> None:
        """Show what the job has told since the last look."""
        for event in self._tail.read():
            self._display.show(event)
            if isinstance(event, Done):
                self.done = event


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals instead of dying by them."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _result_text(job: Job, done: Done | None) -> str:
    lines = [f"{job.kind} {job.metadata.namespace}/{job.metadata.name} succeeded"]
    if done is not None and done.artifacts is not None:
        lines.append(f"artifacts: {done.artifacts}")
    for name, value in sorted(done.metrics.items() if done is not None else ()):
        lines.append(f"{name}: {value:g}" if isinstance(value, int | float) else f"{name}: {value}")
    return "\n".join(lines)


def _result_json(job: Job, done: Done | None) -> str:
    result = {
        "kind": job.kind,
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "phase": "Succeeded",
        "artifacts": None if done is None else done.artifacts,
        "metrics": {} if done is None else dict(done.metrics),
    }
    return json.dumps(result, indent=2)

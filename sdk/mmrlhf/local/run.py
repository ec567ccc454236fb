"""Run a job on this machine, to its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mmrlhf.errors import LocalRunError, RunStoppedError
from mmrlhf.local.events import Event, EventTail
from mmrlhf.local.folders import RunFolder, default_state_dir, prepare_run
from mmrlhf.local.machine import check_machine
from mmrlhf.local.outcome import Outcome, failure_outcome
from mmrlhf.local.port import hold_port
from mmrlhf.local.watch import GangWatch, collect_signals
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.kinds import Job

__all__ = ["RunResult", "run"]


@dataclass(frozen=True)
class RunResult:
    """What a run that succeeded has left.

    Attributes:
        artifacts: URI of its artifacts; None where the job did not say.
        metrics: Its final figures by name.
        logs: Folder with the output of every process.
    """

    artifacts: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    logs: Path | None = None


def _ignore(event: Event) -> None:
    del event


def run(
    job: Job,
    *,
    fresh: bool = False,
    state_dir: str | Path | None = None,
    on_event: Callable[[Event], None] = _ignore,
    tell: Tell = log_line,
) -> RunResult:
    """Run a job on this machine, to its end.

    The processes are those that the job would have in a cluster. A run that was interrupted goes on
    from its last checkpoint when the same job is run again. Ctrl-C and SIGTERM let the job save a
    checkpoint first. Call it in the main thread.

    Args:
        job: What `load_job` returned.
        fresh: Start over instead of going on from a checkpoint.
        state_dir: Folder for logs and progress; by default ``~/.local/state/mmrlhf``.
        on_event: Takes each event of the job, such as a step with its figures.
        tell: Takes lines about the run itself, such as where its logs are; logged by default.

    Raises:
        MachineError: This machine lacks what the job needs.
        LocalRunError: The job could not be started, or failed; says why and names the log.
        RunStoppedError: The run was asked to stop, and did.
    """
    if threading.current_thread() is not threading.main_thread():
        raise LocalRunError("a job is run in the main thread, where Ctrl-C arrives; call run there")
    check_machine(job)
    folder = default_state_dir() if state_dir is None else Path(state_dir)
    with prepare_run(job, state_dir=folder) as prepared, hold_port() as port:
        return _run(job, prepared, port=port, fresh=fresh, on_event=on_event, tell=tell)


def _run(
    job: Job,
    folder: RunFolder,
    *,
    port: int,
    fresh: bool,
    on_event: Callable[[Event], None],
    tell: Tell,
) -> RunResult:
    from mmrlhf.local.gang import LocalGang, local_environment
    from mmrlhf_jobs.components import SHUTDOWN_SECONDS, component, place

    launch = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    logs = folder.logs / launch
    resources = job.spec.resources
    env = local_environment(
        job_file=folder.job,
        progress=folder.progress,
        termination=folder.termination,
        logs=logs,
        port=port,
        processes=resources.world_size,
        fresh=fresh,
    )
    app = place(component(job), env)
    with collect_signals() as received:
        tell(f"{job.kind} {job.metadata.namespace}/{job.metadata.name}: logs in {logs}")
        gang = LocalGang(
            app, log_dir=folder.logs, launch=launch, share_gpus=resources.gpus_per_node > 0
        )
        tail = EventTail(folder.progress)
        try:
            watch = GangWatch(
                gang,
                tail,
                on_event=on_event,
                tell=tell,
                received=received,
                save_seconds=SHUTDOWN_SECONDS,
            )
            failed_node = watch.until_end()
        finally:
            gang.close()
        watch.pass_on()
        if tail.not_understood:
            tell(f"note: {tail.not_understood} lines of progress were not understood")
    if failed_node is None:
        done = watch.done
        return RunResult(
            None if done is None else done.artifacts, {} if done is None else done.metrics, logs
        )
    outcome = failure_outcome(folder.termination, logs, failed_node=failed_node)
    if received:
        raise _stopped(received[0], outcome, folder)
    raise LocalRunError(outcome.message, exit_code=outcome.exit_code, log=outcome.log)


def _stopped(number: int, outcome: Outcome, folder: RunFolder) -> RunStoppedError:
    told = f"{outcome.message}; " if folder.termination.exists() else ""
    return RunStoppedError(
        f"stopped: {told}the same run goes on from the latest checkpoint",
        exit_code=128 + number,
    )

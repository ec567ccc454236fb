"""Run an AppDef on this machine with torchx's ``local_cwd`` scheduler.

Besides ``mmrlhf_jobs.components`` the only module that touches torchx. The scheduler starts one
torchrun agent for each replica; what it lacks for us is added here: it does not notice that one
replica failed while others run, and it kills after 10 seconds, too soon for a checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchx.schedulers.local_scheduler import CWDImageProvider, LocalScheduler, Opts
from torchx.specs import AppDef, macros

from mmrlhf_api.constants import ENV_FRESH, ENV_JOB, ENV_PROGRESS_FILE, ENV_TERMINATION_FILE
from mmrlhf_jobs.components import PLACE_ENV

__all__ = ["LocalGang", "local_environment"]


def local_environment(
    *,
    job_file: Path,
    progress: Path,
    termination: Path,
    logs: Path,
    port: int,
    processes: int,
    fresh: bool,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the variables that differ from a cluster; all are in ``PLACE_ENV``.

    Args:
        job_file: Job file that the processes read.
        progress: File for the progress of rank 0.
        termination: File for the message of the first failing rank.
        logs: Folder of this launch's logs.
        port: Port where agents and processes meet, which torch's store of node 0 can bind.
        processes: Number of processes on this machine, which share its cores.
        fresh: Whether to ignore checkpoints of earlier runs.
        environ: Environment of the command.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    env = {
        ENV_JOB: str(job_file),
        ENV_PROGRESS_FILE: str(progress),
        ENV_TERMINATION_FILE: str(termination),
        "PET_MASTER_ADDR": "127.0.0.1",
        "PET_MASTER_PORT": str(port),
        # Every process writes to files of its own; the terminal is for progress.
        "PET_REDIRECTS": "3",
        "PET_LOG_DIR": str(logs / f"node-{macros.replica_id}"),
        "TORCHELASTIC_ERROR_FILE": str(logs / f"error-{macros.replica_id}.json"),
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS") or str(max(1, (cores or 1) // processes)),
        # `python` must be the one that runs this command, whatever the shell would find.
        "PATH": str(Path(sys.executable).parent),
    }
    if sys.platform == "linux":
        # The host name of a laptop often resolves to nothing, or to a network that is down.
        env["GLOO_SOCKET_IFNAME"] = environ.get("GLOO_SOCKET_IFNAME", "lo")
    if fresh:
        env[ENV_FRESH] = "1"
    assert set(env) <= PLACE_ENV
    return env


class _Scheduler(LocalScheduler):
    """Keeps the processes that it starts."""

    def __init__(self, session_name: str) -> None:
        super().__init__(session_name, CWDImageProvider)
        self.agents: list[subprocess.Popen[bytes]] = []

    def run_local_job(self, *args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - torchx's own signature
        agent: subprocess.Popen[bytes] = super().run_local_job(*args, **kwargs)
        self.agents.append(agent)
        return agent


class LocalGang:
    """The torchrun agents of one launch.

    Args:
        app: What to launch.
        log_dir: Folder for logs; the launch's own are in a folder named ``launch`` below it.
        launch: Name of the launch.
        share_gpus: Give each node GPUs of its own.
    """

    def __init__(self, app: AppDef, *, log_dir: Path, launch: str, share_gpus: bool) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._scheduler = _Scheduler(launch)
        for number, handler in handlers.items():  # torchx installs its own; ours are better
            signal.signal(number, handler)
        opts = Opts(log_dir=str(log_dir), auto_set_cuda_visible_devices=share_gpus)
        self._app_id: str = self._scheduler.schedule(self._scheduler.submit_dryrun(app, opts))

    def exit_codes(self) -> list[int | None]:
        """Return the exit code of each agent by node rank; None for one that runs."""
        return [agent.poll() for agent in self._scheduler.agents]

    def terminate(self) -> None:
        """Ask all processes to save and stop; torchrun forwards SIGTERM to those it started."""
        for agent in self._running():
            agent.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all processes at once, those of torchrun included, which have their own sessions."""
        agents = self._running()
        for pid in _descendants([agent.pid for agent in agents]):
            _quietly(os.kill, pid, signal.SIGKILL)
        for agent in agents:
            agent.kill()
            agent.wait()

    def close(self) -> None:
        """Kill what still runs and close the logs."""
        self.kill()
        self._scheduler.describe(self._app_id)  # finds all ended, closes their files
        self._scheduler.close()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [agent for agent in self._scheduler.agents if agent.poll() is None]


def _descendants(roots: Sequence[int]) -> list[int]:
    """Return the processes below ``roots``, which are not among them."""
    if not roots:
        return []
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
    ).stdout
    children: dict[int, list[int]] = {}
    for line in listing.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _quietly(call: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        call(pid, number)
    except ProcessLookupError:
        return  # it ended in the meantime

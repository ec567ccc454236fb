"""The long-running processes of a cluster: started inside, logged to a file, watched."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.cluster.errors import DaemonError, WaitTimeoutError
from tests.cluster.namespace import Namespace
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE

T = TypeVar("T")

# Nothing of the caller's: proxies above all, which would take the daemons' calls to each other.
_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LC_ALL": "C.UTF-8",
    # All are written in Go. They collect garbage a quarter as often: that is a quarter of what they
    # take of the cores, and memory is there.
    "GOGC": "400",
    # One core is enough for each: threads that look for work on others take a tenth of all it does.
    "GOMAXPROCS": "1",
}

_LINES_SHOWN = 15


@dataclass(frozen=True)
class Daemon:
    """One process of the cluster."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise `DaemonError` if it ended."""
        code = self.process.poll()
        if code is not None:
            raise DaemonError(f"{self.name} ended with {code}; {self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
        return "\n    ".join([f"the end of {self.log}:", *lines])


class Daemons:
    """All the processes of one cluster that this process started."""

    def __init__(self, namespace: Namespace, logs: Path) -> None:
        self._namespace = namespace
        self._logs = logs
        self._all: list[Daemon] = []

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        private_files: bool = True,
        cwd: Path | None = None,
    ) -> Daemon:
        """Start a process inside; see `Namespace.daemon_command` for `private_files`."""
        path = self._logs / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                self._namespace.daemon_command(argv, private_files=private_files),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env=_ENVIRONMENT,
            )
        daemon = Daemon(name=name, log=path, process=process)
        self._all.append(daemon)
        return daemon

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; what it wrote is all in `stdout`."""
        return subprocess.run(
            self._namespace.daemon_command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=_ENVIRONMENT,
        )

    def check(self) -> None:
        for daemon in self._all:
            daemon.check()

    def wait_until(self, probe: Callable[[], T], *, timeout: float, what: str) -> T:
        """Wait as `wait.wait_until`, but give up at once when a process ends."""

        def watched() -> T:
            self.check()
            return probe()

        try:
            return wait_until(watched, timeout=timeout, what=what)
        except WaitTimeoutError as error:
            words = "\n".join(daemon.last_words() for daemon in self._all)
            raise DaemonError(f"{error}\n{words}") from error

    def reap(self) -> None:
        """Collect the processes after the end of their namespaces, so that none is a zombie."""
        for daemon in self._all:
            daemon.process.wait(timeout=60 * PATIENCE)

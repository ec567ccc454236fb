"""The operator as a process, and what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.scale.processes import cpu_of, start
from mmrlhf_api import KINDS
from mmrlhf_api.constants import Phase
from tests.cluster.wait import wait_until
from tests.ports import free_port

__all__ = ["WRITES", "Replica", "replica"]

WRITES = frozenset({"create", "update", "patch", "delete"})


class Replica:
    """The operator as a process, and what it says of itself."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    def lives(self) -> bool:
        """True; one that has ended, for instance as it lost its Lease, ends the benchmark.

        Raises:
            SystemExit: It has ended.
        """
        if self._process.poll() is not None:
            raise SystemExit(f"the operator has ended:\n{self._log.read_text()[-2000:]}")
        return True

    def requests(self) -> Counter[str]:
        """Its requests so far, by verb, without watches."""
        found = self._sum("mmrlhf_api_requests_total", "verb")
        del found["watch"]
        return found

    def value(self, name: str) -> float:
        """One of its figures."""
        return sum(self._sum(name, "").values())

    def jobs_in(self, phase: Phase) -> float:
        """How many jobs are in a phase."""
        return self._sum("mmrlhf_jobs", "phase")[phase]

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu_of(self._process.pid)

    @property
    def memory(self) -> float:
        """MB that it had at most."""
        return self._megabytes("VmHWM")

    @property
    def resident(self) -> float:
        """MB that it has now."""
        return self._megabytes("VmRSS")

    def _megabytes(self, name: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (found,) = (line.split()[1] for line in status if line.startswith(f"{name}:"))
        return int(found) / 1024

    def _sum(self, name: str, label: str) -> Counter[str]:
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            text = answer.read().decode()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    found[sample.labels.get(label, "")] += sample.value  # type: ignore[assignment]
        return found


@contextmanager
def replica(namespace: str, folder: Path, **settings: object) -> Iterator[Replica]:
    """Start an operator for one namespace, and wait until it works; it logs into ``folder/log``."""
    port = free_port()
    config = {
        "images": dict.fromkeys(KINDS, "example.test/train:1"),
        "namespaces": [namespace],
        "metricsAddress": f"127.0.0.1:{port}",
        "leaderElection": {"namespace": namespace},
        "preflight": {"addresses": ["127.0.0.0/8"]},
        **settings,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "mmrlhf_operator", f"--config={path}", "--leader-elect"]
    with (folder / "log").open("w") as log:
        process = start(command, log=log)
    try:
        one = Replica(process, f"http://127.0.0.1:{port}/metrics", folder / "log")
        wait_until(lambda: one.lives() and _leads(one), timeout=120, what="an operator")
        yield one
    finally:
        process.terminate()
        process.wait(60)


def _leads(one: Replica) -> bool:
    try:
        return one.value("mmrlhf_leader") == 1
    except OSError:
        return False

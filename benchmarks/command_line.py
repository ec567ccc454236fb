"""What calls of the command line take of the CPU, beside kubectl's for the same list.

A real API server, without anything that acts on jobs: they have a status as if they ran. Calls of
both programs take turns, each as a process of its own, and seconds are those of user and system
together.

It needs a cluster that no one else uses, such as the tests' own::

    python -m tests.cluster up --level control-plane
    python -m tests.cluster exec python -m benchmarks.command_line
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from benchmarks.scale.fleet import each
from mmrlhf_api.constants import API_VERSION
from tests.cluster.access import ExistingCluster
from tests.cluster.binaries import kubectl
from tests.cluster.kinds import apply_kinds
from tests.unit.api.specimens import changed

CALLS = {
    "--version": "{own} --version",
    "get, by kubectl": "{kubectl} get mmdpojobs",
    "get": "{own} get mmdpo",
    "get, wide": "{own} get mmdpo -o wide",
    "status of one": "{own} status mmdpo/job-0",
    "logs of one": "{own} logs mmdpo/job-0",
}


def measure(argv: Sequence[str]) -> float:
    """Return the seconds of CPU that a process takes to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_jobs(cluster: ExistingCluster, namespace: str, number: int) -> None:
    """Make jobs that look as if they ran."""
    api = cluster.api
    jobs = f"/apis/{API_VERSION}/namespaces/{namespace}/mmdpojobs"
    status = {
        "phase": "Running",
        "observedGeneration": 1,
        "progress": {"step": 41, "totalSteps": 100, "loss": 0.61, "margin": 0.4},
        "pods": {"desired": 4, "ready": 4},
    }

    def make(name: str) -> None:
        api.create(jobs, {**changed("MMDPOJob"), "metadata": {"name": name}})
        api.patch(f"{jobs}/{name}/status", {"status": status})

    each([f"job-{index}" for index in range(number)], make)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=600)
    parser.add_argument("--runs", type=int, default=9, help="calls of each sort")
    parser.add_argument(
        "--own",
        default=f"{sys.executable} -m mmrlhfctl",
        help="the program that is measured, such as that of an earlier version",
    )
    options = parser.parse_args(argv)
    cluster = ExistingCluster(Path(os.environ["KUBECONFIG"]))
    apply_kinds(cluster)
    namespace = f"command-line-{uuid4().hex[:6]}"
    cluster.api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    make_jobs(cluster, namespace, options.jobs)
    calls = {
        name: [
            *shlex.split(call.format(own=options.own, kubectl=kubectl())),
            *(["-n", namespace] if name != "--version" else []),
        ]
        for name, call in CALLS.items()
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.runs + 1):
        for name, call in calls.items():
            found[name].append(measure(call))
    seconds = {name: statistics.median(taken[1:]) for name, taken in found.items()}
    ratio = seconds["get"] / seconds["get, by kubectl"]
    table = Table("call", "seconds of CPU", "least", title=f"{options.jobs} jobs")
    for name, taken in found.items():
        table.add_row(name, f"{seconds[name]:.2f}", f"{min(taken):.2f}")
    Console(stderr=True).print(table)
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")
    print(json.dumps({"jobs": options.jobs, "seconds": seconds, "to_kubectl": round(ratio, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Pipelines on schedules at scale: all of them due in the same minute, and all of them at rest.

A real control plane without kubelets, as for `operator_scale`: pods are scheduled, and this script
brings them to their end. Each pipeline has one step. What counts is the operator's own: what it
asks of the API server while no pipeline is due, how late runs start when all are, what a run costs,
and its memory.

It needs a cluster that no one else uses, such as the tests' own::

    python -m tests.cluster up --level control-plane
    python -m tests.cluster exec python -m benchmarks.schedule_scale --pipelines 20 200
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.scale.fleet import each, place
from benchmarks.scale.replica import WRITES, Replica, replica
from mmrlhf_api.constants import API_VERSION, LABEL_JOB
from tests.cluster import scripted_pods
from tests.cluster.access import Access, ExistingCluster
from tests.cluster.api import Api
from tests.cluster.kinds import apply_kinds
from tests.cluster.wait import wait_until

LIMIT_SECONDS = 3600.0
LEAD_SECONDS = 20.0
"""At least, from when all are told that they are due to when they are; and as making them took."""


@dataclass(frozen=True)
class Figures:
    """What was seen.

    Attributes:
        pipelines: Pipelines, each of one step, all due in one minute.
        late_p50: Seconds after their time at which half of the runs had been made.
        late_p99: Seconds at which 99 of a hundred had been.
        late_max: Seconds at which all had been.
        ended: Seconds until all runs had succeeded, their pods scripted.
        requests: Of the operator a run, from its time to its end, watches left out.
        writes: Those of them that write.
        cpu: Seconds of CPU of the operator a run.
        memory: MB that the operator had at most.
        a_pipeline: KB of memory by which it had grown with each pipeline at rest.
        rest: Seconds of rest, within which each pipeline was looked at once or more.
        rest_cpu: Seconds of CPU within them.
        rest_writes: Writes within them, those to its Lease left out.
        rest_lists: Lists within them, of which there are more kinds than pipelines matter.
        rest_gets: Other reads within them.
    """

    pipelines: int
    late_p50: float
    late_p99: float
    late_max: float
    ended: float
    requests: float
    writes: float
    cpu: float
    memory: float
    a_pipeline: float
    rest: float
    rest_cpu: float
    rest_writes: int
    rest_lists: int
    rest_gets: int


class Fleet:
    """Pipelines in one namespace, and hands for the pods of their runs."""

    def __init__(self, api: Api, namespace: str, number: int) -> None:
        self.api = api
        self.namespace = namespace
        self.names = [f"p-{index}" for index in range(number)]

    def create(self) -> None:
        """Make the pipelines; none of them is due for some hours."""
        far = f"0 {(datetime.now(UTC).hour + 12) % 24} * * *"
        each(self.names, lambda name: self.api.create(self._path(), _pipeline(name, far)))

    def make_due(self, at: datetime) -> None:
        """Tell all of them a time."""
        cron = {"spec": {"schedule": {"cron": f"{at.minute} {at.hour} * * *"}}}
        each(self.names, lambda name: self.api.patch(f"{self._path()}/{name}", cron))

    def are_known(self) -> bool:
        """Whether the operator has judged all as they are now."""
        items = self.api.get(self._path())["items"]
        return len(items) == len(self.names) and all(map(_is_known, items))

    def move(self) -> bool:
        """Run pods and end them; whether all runs have succeeded."""
        pods = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=LABEL_JOB)
        going = [one for one in pods["items"] if one["spec"].get("nodeName")]
        for phase, act in (("Pending", scripted_pods.run), ("Running", scripted_pods.finish)):
            names = [one["metadata"]["name"] for one in going if one["status"]["phase"] == phase]
            each(names, _on(act, self.api, self.namespace))
        runs = self.api.get(self._path("alignmentruns"))["items"]
        done = [one for one in runs if one.get("status", {}).get("phase") == "Succeeded"]
        return len(done) == len(self.names)

    def _path(self, plural: str = "alignmentpipelines") -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}"


def _on(act: Callable[..., object], api: Api, namespace: str) -> Callable[[str], object]:
    return lambda name: act(api, namespace, name)


def _is_known(body: dict[str, Any]) -> bool:
    status = body.get("status", {})
    judged = status.get("observedGeneration") == body["metadata"]["generation"]
    return judged and "nextScheduleTime" in status.get("schedule", {})


def _pipeline(name: str, cron: str) -> dict[str, Any]:
    step = {
        "name": "bench",
        "kind": "StepJob",
        "spec": {
            "step": "bench",
            "bench": {"records": "/data/bench.jsonl", "scores": "/data/scores.parquet"},
            "resources": {"cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"},
        },
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "AlignmentPipeline",
        "metadata": {"name": name},
        "spec": {
            "artifacts": {"uri": "/shared/runs"},
            "steps": [step],
            "schedule": {"cron": cron},
        },
    }


def run(access: Access, number: int, *, rest: float) -> Figures:
    """Let an operator look after so many pipelines."""
    # Each is looked at within the time of rest, and not just once in five minutes.
    settings = {"logFormat": "json", "resyncSeconds": rest / 2}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        namespace = stack.enter_context(place(access.api, "schedules", number))
        operator = stack.enter_context(replica(namespace, folder, **settings))
        fleet = Fleet(access.api, namespace, number)
        return _measure(fleet, operator, folder / "log", rest=rest)


def _measure(fleet: Fleet, operator: Replica, log: Path, *, rest: float) -> Figures:
    number, empty = len(fleet.names), operator.resident
    began = time.monotonic()
    fleet.create()
    made_in = time.monotonic() - began
    wait_until(fleet.are_known, timeout=LIMIT_SECONDS, what="judged pipelines", interval=1.0)
    time.sleep(rest)
    calm, cpu, resident = operator.requests(), operator.cpu, operator.resident
    time.sleep(rest)
    asked, spent = operator.requests() - calm, operator.cpu - cpu

    at = datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS + 2 * made_in + 60)
    at = at.replace(second=0, microsecond=0)
    fleet.make_due(at)
    wait_until(fleet.are_known, timeout=LIMIT_SECONDS, what="judged pipelines", interval=1.0)
    left = (at - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise SystemExit(f"{number} pipelines were told the time they are due {-left:.0f} s late")
    time.sleep(left)
    before, cpu = operator.requests(), operator.cpu
    wait_until(fleet.move, timeout=LIMIT_SECONDS, what="all ends", interval=0.5)
    ended = (datetime.now(UTC) - at).total_seconds()
    worked, used = operator.requests() - before, operator.cpu - cpu
    late = sorted((moment - at).total_seconds() for moment in _starts(log))
    assert len(late) == number, f"{len(late)} starts of {number} pipelines"
    return Figures(
        pipelines=number,
        late_p50=_quantile(late, 0.5),
        late_p99=_quantile(late, 0.99),
        late_max=round(late[-1], 2),
        ended=round(ended, 1),
        requests=round(worked.total() / number, 2),
        writes=round(_writes(worked) / number, 2),
        cpu=round(used / number, 3),
        memory=round(operator.memory),
        a_pipeline=round((resident - empty) * 1024 / number, 1),
        rest=rest,
        rest_cpu=round(spent, 1),
        rest_writes=_writes(asked),
        rest_lists=int(asked["list"]),
        rest_gets=int(asked["get"]),
    )


def _writes(asked: Counter[str]) -> int:
    """How many write; the Lease is renewed by an update, which is used for nothing else."""
    return int(sum(asked[verb] for verb in WRITES - {"update"}))


def _starts(log: Path) -> list[datetime]:
    """When runs were made, to the millisecond, which objects of the API server do not tell."""
    entries = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
    return [datetime.fromisoformat(one["time"]) for one in entries if " started " in one["message"]]


def _quantile(values: Sequence[float], share: float) -> float:
    """The least value that so many are not above; of sorted ones."""
    return round(values[math.ceil(share * len(values)) - 1], 2)


def main() -> int:
    """Run all sizes and print a table, and its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pipelines", type=int, nargs="+", default=[20, 200], help="sizes")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest (%(default)s)")
    options = parser.parse_args()
    access = ExistingCluster(Path(os.environ["KUBECONFIG"]))
    apply_kinds(access)
    found = [run(access, number, rest=options.rest) for number in options.pipelines]
    table = Table(title="Pipelines on schedules", title_justify="left")
    table.add_column("figure")
    for one in found:
        table.add_column(str(one.pipelines), justify="right")
    for name in list(asdict(found[0]))[1:]:
        table.add_row(name.replace("_", " "), *(str(asdict(one)[name]) for one in found))
    Console(width=120).print(table)
    print(json.dumps([asdict(one) for one in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Jobs that live and fail for a while, under two replicas of the operator."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from mmrlhf_api import KINDS
from mmrlhf_operator.installation.workload import METRICS_PORT
from mmrlhf_operator.rendering.containers import PROGRESS_PATH
from mmrlhf_operator.rendering.volumes import AUDIENCE
from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.cluster.control_plane import accepts_pods
from tests.cluster.gpu_nodes import gpu_nodes
from tests.cluster.wait import wait_until
from tests.collector import Collector, collector
from tests.operator.driver import Driver
from tests.operator.fates import Fate, Hands, draw

__all__ = ["TARGETS", "World", "one_replica", "world"]

HOSTS: Final = ("127.0.0.1", "127.0.0.2")
"""Addresses of the replicas, which in a cluster are those of their pods."""
TARGETS: Final = tuple(f"{host}:{METRICS_PORT}" for host in HOSTS)
_PROGRESS_PORT: Final = 8081
_NODES: Final = 6  # of eight GPUs each: six jobs at once
_PACE: Final = 4.0
"""Seconds between two looks at all jobs."""


@dataclass
class SlowHands(Hands):
    """Let each attempt run for a while.

    Attributes:
        began: When each attempt was first seen to run, by a clock that only goes on.
    """

    began: dict[tuple[str, int], float] = field(default_factory=dict)

    def begin(self, fate: Fate) -> None:
        """Create one more job."""
        self.fates.append(fate)
        self.driver.submit(
            metadata__name=fate.name,
            resources={
                "nodes": 2,
                "gpusPerNode": 4,
                "processesPerNode": 4,
                "cpu": "4",
                "memory": "16Gi",
                "sharedMemory": "1Gi",
            },
            runPolicy={"backoffSeconds": 10, "maxRestarts": fate.max_restarts},
        )

    def _move(self, fate: Fate, job: dict[str, Any], attempt: int, pods: list[Any]) -> None:
        if job.get("status", {}).get("phase") == "Running":
            now = time.monotonic()
            began = self.began.setdefault((fate.name, attempt), now)
            lasts = random.Random(f"{fate.name}-{attempt}").uniform(20, 150)
            if now - began < lasts:
                return
        super()._move(fate, job, attempt, pods)


@dataclass
class World:
    """What lives.

    Attributes:
        hands: Those that move the jobs.
        fates: Of jobs that are still to be submitted.
        tight: Jobs of a namespace with a quota of no pods.
        collector: Takes the traces.
    """

    hands: SlowHands
    fates: Iterator[Fate]
    tight: Driver
    collector: Collector
    _tokens: dict[str, str] = field(default_factory=dict)
    _step: int = 0

    def live(self, seconds: float, *, gap: float) -> int:
        """Let jobs come every `gap` seconds and live; returns how many came."""
        end, next_, came = time.monotonic() + seconds, 0.0, 0
        while (now := time.monotonic()) < end:
            if now >= next_:
                self.hands.begin(next(self.fates))
                came, next_ = came + 1, now + self.hands.rng.expovariate(1 / gap)
            self.hands.move()
            self._report()
            time.sleep(_PACE)
        return came

    def _report(self) -> None:
        """Rank 0 of each job that runs tells of a step, and now and then a stranger does."""
        driver = self.hands.driver
        self._step += 1
        for pod in driver.api.get(f"/api/v1/namespaces/{driver.namespace}/pods")["items"]:
            name = pod["metadata"]["name"]
            if pod["status"]["phase"] == "Running" and name.endswith("-0"):
                self._knock(self._token(driver.api, driver.namespace, pod))
        if self.hands.rng.random() < 0.2:
            self._knock("Bearer nobody")

    def _token(self, api: Api, namespace: str, pod: dict[str, Any]) -> str:
        uid = pod["metadata"]["uid"]
        if uid not in self._tokens:
            bound = {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "uid": uid,
            }
            asked = {"audiences": [AUDIENCE], "expirationSeconds": 3600, "boundObjectRef": bound}
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
            self._tokens[uid] = api.create(path, {"spec": asked})["status"]["token"]
        return f"Bearer {self._tokens[uid]}"

    def _knock(self, token: str) -> None:
        step = f'{{"events": [{{"event": "step", "step": {self._step}, "totalSteps": 9999}}]}}'
        for host in HOSTS:  # the replica that works alone listens
            request = urllib.request.Request(
                f"http://{host}:{_PROGRESS_PORT}{PROGRESS_PATH}",
                data=step.encode(),
                headers={"Authorization": token},
            )
            try:
                urllib.request.urlopen(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                error.close()
            except OSError:
                continue
            return


@contextmanager
def world(access: Access) -> Iterator[World]:
    """A namespace with room for some jobs, one with room for no pod, and nobody in them yet."""
    api = access.api
    with ExitStack() as stack:
        open_, tight = (stack.enter_context(_namespace(api, word)) for word in ("team", "tight"))
        nodes = [f"{open_}-{index}" for index in range(_NODES)]
        stack.enter_context(gpu_nodes(api, nodes))
        hands = SlowHands(Driver(api, open_, node=""), [], random.Random(7))
        traces = stack.enter_context(collector())
        yield World(hands, iter(draw(7, 1000)), Driver(api, tight, node=""), traces)


@contextmanager
def _namespace(api: Api, word: str) -> Iterator[str]:
    name = f"{word}-{uuid4().hex[:6]}"
    api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    wait_until(lambda: accepts_pods(api, name), timeout=60, what="a namespace")
    try:
        yield name
    finally:
        api.delete(f"/api/v1/namespaces/{name}/pods", grace_seconds=0)
        api.delete(f"/api/v1/namespaces/{name}")


@contextmanager
def one_replica(world: World, number: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The operator at the address of a replica, once it answers."""
    folder.mkdir(parents=True)
    host, namespace = HOSTS[number], world.hands.driver.namespace
    config = {
        "images": dict.fromkeys(KINDS, "example.test/train:1"),
        "namespaces": [namespace, world.tight.namespace],
        "leaderElection": {"namespace": namespace},
        "metricsAddress": TARGETS[number],
        "progressAddress": f"{host}:{_PROGRESS_PORT}",
        "progressUrl": "http://mmrlhf-operator.mmrlhf-system:8081",
        "tracingUrl": world.collector.url,
        "maxRetrySeconds": 15,
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "mmrlhf_operator", f"--config={folder}/config.yaml"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--leader-elect"],
            stderr=log,
            env={**os.environ, "HOSTNAME": folder.name},
        )
    try:
        wait_until(lambda: _answers(process, TARGETS[number]), timeout=120, what="a replica")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _answers(process: subprocess.Popen[bytes], target: str) -> bool:
    if process.poll() is not None:
        raise SystemExit(f"a replica has ended: {process.args!r}")
    try:
        urllib.request.urlopen(f"http://{target}/metrics", timeout=30).close()
    except OSError:
        return False
    return True

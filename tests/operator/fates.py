"""What becomes of many jobs at once: each has a fate, drawn from a seed, and hands that bring it.

The hands play the kubelets and the users. They look at the server alone, as those do, and may look
as seldom as they like: a fate says what happens in each attempt, never when.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_JOB
from tests.cluster import scripted_pods
from tests.cluster.errors import ApiError
from tests.operator.driver import Driver

Turn = Literal["killed", "deleted", "evicted", "suspended", "invalid", "cancelled", "succeeds"]

LAST: Final[Mapping[Turn, tuple[str, str]]] = {
    "invalid": ("Failed", "InvalidInput"),
    "cancelled": ("Failed", "Cancelled"),
    "succeeds": ("Succeeded", "Completed"),
}
"""Turns that end a job, whatever it has left of its restarts: phase and reason."""
FREE: Final = frozenset({"deleted", "evicted"})
NODES: Final = 2


@dataclass(frozen=True)
class Fate:
    """What happens to a job.

    Attributes:
        name: The job's name.
        turns: What happens in each attempt, the last one ends it.
        max_restarts: Its budget of restarts.
    """

    name: str
    turns: tuple[Turn, ...]
    max_restarts: int

    @property
    def lived(self) -> tuple[Turn, ...]:
        """The turns that it lives to see: a failure beyond the budget is the last."""
        killed = 0
        for number, turn in enumerate(self.turns):
            killed += turn == "killed"
            if killed > self.max_restarts:
                return self.turns[: number + 1]
        return self.turns

    @property
    def end(self) -> dict[str, Any]:
        """What its status must say in the end."""
        lived = self.lived
        phase, reason = LAST.get(lived[-1], ("Failed", "RestartBudgetExhausted"))
        killed = lived.count("killed")
        return {
            "phase": phase,
            "reason": reason,
            "attempt": len(lived) - 1,
            "restarts": min(killed, self.max_restarts),
            "freeRestarts": sum(turn in FREE for turn in lived),
        }

    @property
    def pods(self) -> set[str]:
        """Every pod that must have been made for it, once."""
        return {f"{self.name}-{a}-{i}" for a in range(len(self.lived)) for i in range(NODES)}


def draw(seed: int, number: int) -> list[Fate]:
    """Fates of so many jobs."""
    rng = random.Random(seed)
    middle: tuple[Turn, ...] = ("killed", "killed", "deleted", "evicted", "suspended")
    fates = []
    for index in range(number):
        turns = rng.choices(middle, k=rng.choice((0, 0, 1, 2, 3)))
        last = rng.choices(tuple(LAST), weights=(1, 1, 4))
        fates.append(Fate(f"job-{index}", (*turns, *last), rng.choice((0, 1, 3))))
    return fates


@dataclass
class Hands:
    """Bring jobs to their fates.

    Attributes:
        driver: Does things in the jobs' namespace.
        fates: What is to become of them.
        rng: Which pod of a job it is.
        seen: UIDs of the pods that there were, by name.
    """

    driver: Driver
    fates: list[Fate]
    rng: random.Random
    seen: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _done: set[tuple[str, int]] = field(default_factory=set)

    def submit(self) -> None:
        """Create all jobs."""
        for fate in self.fates:
            self.driver.submit(
                metadata__name=fate.name,
                runPolicy={"backoffSeconds": 0, "maxRestarts": fate.max_restarts},
            )

    def move(self) -> list[str]:
        """Do what can be done now; returns the jobs that have not ended."""
        driver = self.driver
        jobs = driver.api.get(driver.path(name="").rstrip("/"))["items"]
        pods = defaultdict(list)
        folder = f"/api/v1/namespaces/{driver.namespace}/pods"
        for pod in driver.api.get(folder, labelSelector=LABEL_JOB)["items"]:
            self.seen[pod["metadata"]["name"]].add(pod["metadata"]["uid"])
            if "deletionTimestamp" in pod["metadata"]:
                _let(lambda name: scripted_pods.vanish(driver.api, driver.namespace, name), pod)
            else:
                labels = pod["metadata"]["labels"]
                pods[labels[LABEL_JOB], int(labels[LABEL_ATTEMPT])].append(pod)
        fates = {fate.name: fate for fate in self.fates}
        going = []
        for job in jobs:
            name, status = job["metadata"]["name"], job.get("status", {})
            if status.get("phase") not in {"Succeeded", "Failed"}:
                going.append(name)
                attempt = status.get("attempt", 0)
                self._move(fates[name], job, attempt, pods[name, attempt])
        return going

    def _move(self, fate: Fate, job: dict[str, Any], attempt: int, pods: list[Any]) -> None:
        phase = job.get("status", {}).get("phase")
        if phase == "Suspended" and job["spec"]["runPolicy"].get("suspend"):
            self._edit(fate, suspend=False)
        elif len(pods) == NODES and all(pod["spec"].get("nodeName") for pod in pods):
            new = [pod for pod in pods if pod["status"]["phase"] == "Pending"]
            for pod in new:
                _let(
                    lambda name: scripted_pods.run(self.driver.api, self.driver.namespace, name),
                    pod,
                )
            if not new and phase == "Running" and (fate.name, attempt) not in self._done:
                self._done.add((fate.name, attempt))
                self._turn(fate, fate.lived[attempt], pods)

    def _turn(self, fate: Fate, turn: Turn, pods: list[Any]) -> None:
        api, namespace = self.driver.api, self.driver.namespace
        names = sorted(pod["metadata"]["name"] for pod in pods)
        one = self.rng.choice(names)
        if turn == "suspended":
            self._edit(fate, suspend=True)
        elif turn == "cancelled":
            self._edit(fate, cancel=True)
        elif turn == "deleted":
            scripted_pods.vanish(api, namespace, one)
        elif turn == "evicted":
            scripted_pods.evict(api, namespace, one, reason="EvictionByEvictionAPI")
        elif turn == "invalid":
            said = json.dumps({"exitCode": 2, "reason": "InvalidInput", "message": "row 7"})
            scripted_pods.finish(api, namespace, one, exit_code=2, message=said)
        elif turn == "killed":
            for name in names:
                scripted_pods.finish(api, namespace, name, exit_code=137)
        else:
            for name in names:
                scripted_pods.finish(api, namespace, name)

    def _edit(self, fate: Fate, **policy: bool) -> None:
        self.driver.api.patch(self.driver.path(name=fate.name), {"spec": {"runPolicy": policy}})


def _let(act: Callable[[str], None], pod: dict[str, Any]) -> None:
    """Do something to a pod, if it is still there."""
    try:
        act(pod["metadata"]["name"])
    except ApiError as error:
        if error.status != 404:
            raise

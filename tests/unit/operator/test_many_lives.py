"""Many jobs with drawn fates, and an operator that dies between any two steps of a plan.

Sixty of them take some five seconds of CPU; `make many-jobs` draws a thousand.
"""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict

from mmrlhf_operator.rendering.names import pod_name
from tests.operator.fates import NODES, Fate, Turn, draw
from tests.unit.operator.world import World, job_body

JOBS = int(os.environ.get("MMRLHF_TEST_JOBS", "60"))
_DEATHS = 0.2
_SECONDS = 301.0  # longer than any wait before a restart
_INVALID = json.dumps({"exitCode": 2, "reason": "InvalidInput", "message": "row 7"})


class Life:
    """One job, and which pods there have been."""

    def __init__(self, fate: Fate, rng: random.Random) -> None:
        self.fate = fate
        self.rng = rng
        self.deaths = 0
        self.seen: defaultdict[str, set[str]] = defaultdict(set)
        policy = {"backoffSeconds": 0, "maxRestarts": fate.max_restarts}
        self.there = World(job_body(metadata__name=fate.name, runPolicy=policy, resources__nodes=2))

    def live(self) -> None:
        """Live through all turns."""
        for attempt, turn in enumerate(self.fate.lived):
            self._settle()
            names = [pod_name(self.fate.name, attempt=attempt, index=i) for i in range(NODES)]
            self.there.run(*names)
            self._settle()
            assert self.there.status["phase"] == "Running"
            self._turn(turn, names)
            self._settle()
            self.there.vanish()
            if turn == "suspended":
                self._settle()
                self.there.edit(runPolicy__suspend=False)
            self.there.tick(_SECONDS)
        self._settle()

    def _turn(self, turn: Turn, names: list[str]) -> None:
        there, one = self.there, self.rng.choice(names)
        if turn == "suspended":
            there.edit(runPolicy__suspend=True)
        elif turn == "cancelled":
            there.edit(runPolicy__cancel=True)
        elif turn == "deleted":
            there.vanish(one)
        elif turn == "evicted":
            there.finish(one, exit_code=137)
            there.disrupt(one, "EvictionByEvictionAPI")
        elif turn == "invalid":
            there.finish(one, exit_code=2, message=_INVALID)
        else:
            for name in names:
                there.finish(name, exit_code=137 if turn == "killed" else 0)

    def _settle(self) -> None:
        """Let operators act until there is nothing to do; some die on the way."""
        while self.rng.random() < _DEATHS:
            self.deaths += 1
            self.there.reconcile(steps=self.rng.randrange(4))
            self._look()
        self.there.settle()
        self._look()

    def _look(self) -> None:
        for name, pod in self.there.pods.items():
            self.seen[name].add(pod["metadata"]["uid"])


def test_every_job_meets_its_fate_and_no_pod_is_made_twice() -> None:
    rng = random.Random(22)
    deaths = 0
    for fate in draw(seed=23, number=JOBS):
        life = Life(fate, rng)
        life.live()
        deaths += life.deaths
        found = {key: life.there.status.get(key) or 0 for key in fate.end}
        assert found == fate.end, fate
        assert {name: len(uids) for name, uids in life.seen.items()} == dict.fromkeys(fate.pods, 1)
    assert deaths > JOBS

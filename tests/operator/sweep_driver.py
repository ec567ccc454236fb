"""What a test does to a sweep."""

from __future__ import annotations

from typing import Any

from mmrlhf_api.constants import API_VERSION
from tests.operator.driver import until
from tests.operator.run_driver import SMALL, RunDriver

KIND = "RewardTrainJob"
TEMPLATE: dict[str, Any] = {
    "kind": KIND,
    "spec": {
        **SMALL,
        "artifacts": {"uri": "/shared/runs"},
        "model": {"uri": "/data/models/tiny"},
        "data": {"train": {"uri": "/data/t.jsonl"}, "evaluation": {"uri": "/data/e.jsonl"}},
        "training": {"evaluateEverySteps": 5},
        "runPolicy": {"backoffSeconds": 0, "maxRestarts": 0},
    },
}


class SweepDriver(RunDriver):
    """Does things to a sweep in the namespace of a driver."""

    def sweep(self, **spec: Any) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": "Sweep",
            "metadata": {"name": "t"},
            "spec": {
                "template": TEMPLATE,
                "parameters": [{"field": "optimizer.learningRate", "values": [1e-3, 1e-4, 1e-5]}],
                "objective": {"metric": "afterAcc"},
                "parallelism": 2,
                "earlyStop": {"steps": [5], "atLeast": 2},
                **spec,
            },
        }
        self.api.create(self.path(kind="Sweep"), body)

    def state(self) -> dict[str, Any]:
        status: dict[str, Any] = self.api.get(self.path("t", "Sweep")).get("status", {})
        return status

    def change(self, **spec: Any) -> None:
        self.api.patch(self.path("t", "Sweep"), {"spec": spec})

    def tell(self, job: str, **status: Any) -> None:
        """Let a job say something, as its operator would write it."""
        self.api.patch(f"{self.driver.path(KIND, job)}/status", {"status": status})

    def reach(self, job: str, value: float) -> None:
        self.tell(job, progress={"step": 5, "evaluatedStep": 5, "heldOutAcc": value})

    async def points_are(self, *phases: str) -> None:
        await until(
            lambda: [one["phase"] for one in self.state().get("points", ())] == [*phases],
            what=lambda: f"{phases}, not {self.state()}",
            seconds=60,
        )

    def policy(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.driver.job(KIND, job)["spec"]["runPolicy"]
        return found

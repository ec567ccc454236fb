"""What a test does to runs of a pipeline."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.pipelines import RESOURCES
from tests.operator import faults
from tests.operator.driver import Driver, until

SMALL = {"resources": {"cpu": "10m", "memory": "8Mi", "sharedMemory": "1Mi"}}


def steps(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps of which some wait for others; changes are merged into the spec of a step."""
    specs: dict[str, dict[str, Any]] = {
        "judge": {
            "model": {"uri": "/data/models/tiny"},
            "data": {"train": {"uri": "/data/train.jsonl"}},
        },
        "score": {
            "step": "score",
            "score": {"model": "${steps.judge.model}", "data": "${parameters.data}"},
        },
        "bench": {
            "step": "bench",
            "bench": {"records": "${parameters.data}", "scores": "${steps.score.scores}"},
        },
        "critiques": {
            "step": "critiques",
            "critiques": {
                "records": "/data/commented.jsonl",
                "endpoint": {"name": "m", "baseUrl": "http://models.test/v1", "model": "m"},
            },
        },
    }
    policy = {"runPolicy": {"backoffSeconds": 0, "maxRestarts": 0}}
    return [
        {
            "name": name,
            "kind": "RewardTrainJob" if name == "judge" else "StepJob",
            "spec": {**SMALL, **policy, **spec, **changes.get(name, {})},
        }
        for name, spec in specs.items()
    ]


class RunDriver:
    """Does things to runs in the namespace of a driver."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.api = driver.api

    def path(self, name: str = "", kind: str = "AlignmentRun") -> str:
        plural = RESOURCES[kind].plural
        path = f"/apis/{API_VERSION}/namespaces/{self.driver.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    def submit(self, name: str = "r", **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": API_VERSION,
            "kind": "AlignmentRun",
            "metadata": {"name": name},
            "spec": {
                "parameters": [{"name": "data", "value": "/data/bench.jsonl"}],
                "artifacts": {"uri": "/shared/runs"},
                "steps": steps(),
                **spec,
            },
        }
        return self.api.create(self.path(), body)

    def edit(self, name: str = "r", /, **spec: Any) -> None:
        self.api.patch(self.path(name), {"spec": spec})

    def status(self, name: str = "r") -> dict[str, Any]:
        status: dict[str, Any] = self.api.get(self.path(name)).get("status", {})
        return status

    def condition(self, kind: str, name: str = "r", of: str = "AlignmentRun") -> dict[str, Any]:
        found = self.api.get(self.path(name, of)).get("status", {}).get("conditions", ())
        return next((one for one in found if one["type"] == kind), {})

    def phases(self, name: str = "r") -> dict[str, str]:
        return {one["name"]: one["phase"] for one in self.status(name).get("steps", ())}

    def step(self, step: str, name: str = "r") -> dict[str, Any]:
        found: dict[str, Any] = next(
            one for one in self.status(name)["steps"] if one["name"] == step
        )
        return found

    def told(self, kind: str = "AlignmentRun") -> Counter[str]:
        """How often what was told of objects of a kind by events."""
        listed = self.api.get(f"/api/v1/namespaces/{self.driver.namespace}/events")["items"]
        return Counter(one["reason"] for one in listed if one["involvedObject"]["kind"] == kind)

    async def phases_are(self, name: str = "r", /, seconds: float = 30.0, **phases: str) -> None:
        await until(
            lambda: self.phases(name) == phases,
            what=lambda: f"{phases}, not {self.status(name)}",
            seconds=seconds,
        )

    async def ends(self, phase: str, name: str = "r", seconds: float = 60.0) -> None:
        await until(
            lambda: self.status(name).get("phase") == phase,
            what=lambda: f"{phase}, not {self.status(name)}",
            seconds=seconds,
        )

    async def runs(self, *jobs: str) -> None:
        """Wait for the pods of jobs, and let them run."""
        pods = [f"{job}-0-0" for job in jobs]
        await until(
            lambda: set(pods) <= set(self.driver.pods()),
            what=lambda: f"{pods}, not {self.driver.pods()}",
            seconds=60,
        )
        self.driver.run(*pods)

    def finish(self, job: str, exit_code: int = 0, attempt: int = 0) -> None:
        self.driver.finish(f"{job}-{attempt}-0", exit_code=exit_code)


def created_jobs(log: faults.Log) -> Counter[str]:
    """How often each job was created for real."""
    return Counter(
        request.body["metadata"]["name"]
        for request, status in log
        if request.method == "POST"
        and status == 201
        and request.path.startswith(f"/apis/{API_VERSION}/")
    )

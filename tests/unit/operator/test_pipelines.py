"""What the reconciler of pipelines keeps in mind of others, and what it asks for none of them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

from mmrlhf_operator.acting.pipelines import PipelineReconciler
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.state.store import Key

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)


def pipeline(name: str, **spec: Any) -> dict[str, Any]:
    gate = {
        "require": {"safety": {"maxAsr": 0.1}},
        "candidate": ["s3://bucket/a.jsonl"],
        "alias": "default/vqa",
        "artifact": "s3://bucket/model",
    }
    step = {"name": "gate", "kind": "StepJob", "spec": {"step": "gate", "gate": gate}}
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "AlignmentPipeline",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-11-29T07:00:00Z",
        },
        "spec": {"artifacts": {"uri": f"s3://{name}/runs"}, "steps": [step], **spec},
    }


class World:
    """What watches have seen, and the API server that has it."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = {one["metadata"]["name"]: one for one in bodies}
        self.asked: list[str] = []
        self.walks = 0

    def keys(self) -> Iterable[Key]:
        self.walks += 1
        return [self.key(name) for name in self.bodies]

    @staticmethod
    def key(name: str) -> Key:
        return Key("AlignmentPipeline", "default", name)

    def job(self, key: Key) -> dict[str, Any] | None:
        return copy.deepcopy(self.bodies.get(key.name))

    def runs(self, pipeline: Key) -> Iterable[Key]:
        return ()

    async def find(self, path: str) -> dict[str, Any] | None:
        self.asked.append(f"GET {path.rpartition('/')[2]}")
        return copy.deepcopy(self.bodies.get(path.rpartition("/")[2]))

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        self.asked.append(f"LIST {path.rpartition('/')[2]}")
        return {"items": []}

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(f"POST {path.rpartition('/')[2]}")
        return body

    async def all_metadata(self, path: str, *_: object, **__: object) -> list[dict[str, Any]]:
        self.asked.append(f"LIST {path.rpartition('/')[2]}")
        return []

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        name = path.split("/")[-2]
        self.asked.append(f"PATCH {name}")
        self.bodies[name] = {
            **self.bodies[name],
            "status": {**self.bodies[name].get("status", {}), **body["status"]},
        }
        return copy.deepcopy(self.bodies[name])

    def reconciler(self, now: datetime = NOW) -> PipelineReconciler:
        config = OperatorConfig.model_validate({"images": {}})
        return PipelineReconciler(
            cast("Api", self),
            self,
            config=config,
            looker=None,
            wake=lambda _: None,
            clock=lambda: now,
        )


def ready(body: dict[str, Any]) -> str:
    (found,) = (one["status"] for one in body["status"]["conditions"] if one["type"] == "Ready")
    return str(found)


def test_one_whose_status_cannot_be_read_stops_no_other() -> None:
    world = World(pipeline("a"), {**pipeline("b"), "status": {"observedGeneration": "many"}})
    asyncio.run(world.reconciler().reconcile(world.key("a")))
    assert ready(world.bodies["a"]) == "True"


def test_others_are_gone_through_once_and_a_taken_alias_is_told_all_the_same() -> None:
    younger = pipeline("a", artifacts={"uri": "s3://b/runs"})
    younger["metadata"]["creationTimestamp"] = "2026-11-29T07:30:00Z"
    world = World(younger, pipeline("b"), pipeline("c"))
    reconciler = world.reconciler()
    for name in ("a", "b", "c", "a", "c"):
        asyncio.run(reconciler.reconcile(world.key(name)))
    assert [ready(world.bodies[name]) for name in ("a", "b", "c")] == ["False", "True", "True"]
    assert world.walks == 1


def test_what_is_in_the_way_stays_told_until_a_new_operator_has_looked() -> None:
    world = World(pipeline("a", schedule={"triggers": {"newData": {"uri": "s3://bucket/data"}}}))
    asyncio.run(world.reconciler().reconcile(world.key("a")))
    (told,) = (
        one for one in world.bodies["a"]["status"]["conditions"] if one["type"] == "OnSchedule"
    )
    assert (told["status"], told["reason"]) == ("True", "Waiting")
    told |= {"status": "False", "reason": "Replacing", "message": "waits until a-1 has stopped"}
    world.asked.clear()
    asyncio.run(world.reconciler().reconcile(world.key("a")))
    assert world.asked == []


def test_runs_are_listed_where_one_is_to_start_and_not_to_write_a_status() -> None:
    world = World(pipeline("a", schedule={"cron": "0 9 * * *"}))
    asyncio.run(world.reconciler().reconcile(world.key("a")))
    assert world.asked == ["GET a", "PATCH a"]
    world.asked.clear()
    due = NOW.replace(hour=9)
    asyncio.run(world.reconciler(due).reconcile(world.key("a")))
    assert world.asked == ["GET a", "LIST alignmentruns", "PATCH a", "POST alignmentruns"]

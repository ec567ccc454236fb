"""A job is planned for once where what the watches have seen is true, and anew where it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_api import KINDS
from mmrlhf_operator.acting import reconciler
from mmrlhf_operator.acting.preflight import Preflight
from mmrlhf_operator.acting.queues import Queues
from mmrlhf_operator.acting.reconciler import Reconciler
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.kube.transport import Request, Response
from mmrlhf_operator.planning.plan import plan
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.progress import ProgressBoard
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import JobView
from mmrlhf_operator.state.watches import IndexStore, Place
from tests.unit.operator.world import CONFIG, START, World, job_body

KEY = Key("MMDPOJob", "default", "demo")
JOBS, PODS = KINDS["MMDPOJob"].plural, "pods"


class Server:
    """Has one job and some pods, and takes whatever is written."""

    def __init__(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        self.there = {pod["metadata"]["name"]: pod for pod in pods}
        self.there[job["metadata"]["name"]] = job
        self.job = job
        self.creates: list[str] = []

    async def send(self, request: Request, *, seconds: float) -> Response:
        name = request.path.rpartition("/")[2]
        if request.verb == "list":
            return _answer({"kind": "List", "metadata": {}, "items": []})
        if request.method == "GET":
            found = self.there.get(name)
            return _answer(found) if found is not None else _answer({}, 404)
        if request.method == "PATCH":
            version = str(int(self.job["metadata"]["resourceVersion"]) + 1)
            metadata = {**self.job["metadata"], "resourceVersion": version}
            return _answer({**self.job, "metadata": metadata, "status": request.body["status"]})
        if name == "pods":
            self.creates.append(request.body["metadata"]["name"])
        return _answer({**request.body, "metadata": {**request.body["metadata"], "uid": "new"}})

    async def close(self) -> None:
        pass


def _answer(content: object, status: int = 200) -> Response:
    return Response(status=status, headers={}, body=json.dumps(content).encode())


def _one_pod_short() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A job whose attempt lacks the second of its two pods, and the other one."""
    world = World(body=job_body(resources={"nodes": 2, "cpu": "1", "memory": "1Gi"}))
    world.reconcile()
    return world.body, [pod for name, pod in world.pods.items() if name == "demo-0-0"]


@pytest.mark.parametrize(
    ("seen", "live", "plans"),
    [
        ({}, {}, 1),
        ({"resourceVersion": "1"}, {}, 2),
        ({"pod": "Pending"}, {"pod": "Running"}, 2),
    ],
    ids=["true", "job-changed", "pod-changed"],
)
async def test_a_plan_that_acts_is_made_anew_only_where_something_is_otherwise(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, str], live: dict[str, str], plans: int
) -> None:
    made: list[JobView] = []

    def counted(job: JobView, *about: Any, **how: Any) -> Any:
        made.append(job)
        return plan(job, *about, **how)

    monkeypatch.setattr(reconciler, "plan", counted)
    job, pods = _one_pod_short()
    job["metadata"]["resourceVersion"] = "7"

    def pod(phase: str) -> dict[str, Any]:
        (one,) = pods
        return {**one, "status": {**one.get("status", {}), "phase": phase}}

    server = Server(job, [pod(live.get("pod", "Pending"))])
    watched = {**job["metadata"], "resourceVersion": seen.get("resourceVersion", "7")}
    view = PodView.read(pod(seen.get("pod", "Pending")))
    assert view is not None
    index: dict[Place, list[Any]] = {
        (JOBS, KEY): [{**job, "metadata": watched}],
        (PODS, KEY): [view],
    }
    store = IndexStore()
    store.attach(index)
    api = Api(server)
    one = Reconciler(
        api,
        store,
        config=CONFIG,
        checker=Preflight(api, seconds=1.0),
        board=ProgressBoard(),
        queues=Queues(api),
        clock=lambda: START,
    )
    await one.reconcile(KEY)
    assert len(made) == plans
    assert made[-1].resource_version == "7"
    assert server.creates == ["demo-0-1"]

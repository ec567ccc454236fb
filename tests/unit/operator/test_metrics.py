"""What the operator measures: told by its parts, bounded, and read over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as plain_text

from mmrlhf_api import KINDS
from mmrlhf_api.constants import FailureReason, Phase, Reason
from mmrlhf_operator.acting.queue import WorkQueue
from mmrlhf_operator.errors import PostponeError, ServerError, UnreachableError
from mmrlhf_operator.kube.leadership import Leadership
from mmrlhf_operator.kube.lease import Lease
from mmrlhf_operator.kube.transport import MeteredTransport, Request, Response
from mmrlhf_operator.metrics import Metrics
from mmrlhf_operator.serving.metrics import METRICS_PATH, serve_metrics
from mmrlhf_operator.state.store import Key
from tests.ports import free_port

KEY = Key("MMDPOJob", "secret-team", "secret-name")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def tell_everything(metrics: Metrics) -> None:
    """All that parts of the operator ever tell."""
    metrics.follow(depth=lambda: 3, deaf=lambda: True)
    metrics.waited(0.2)
    metrics.asked("get", "200", 0.01)
    metrics.pushed(204)
    metrics.leads(True)
    metrics.tried_lease("held")
    for phase in (None, *Phase):
        metrics.saw(KEY, phase, blocked=True)
    metrics.worked(KEY, 1.0, "done")
    metrics.ended(KEY, Phase.FAILED, "InvalidInput")
    metrics.restarted(KEY, "Killed", counted=True)
    metrics.traced("sent", 2)


def test_no_label_grows_with_what_users_name() -> None:
    metrics = Metrics()
    tell_everything(metrics)
    for number in range(1000):
        metrics.ended(KEY, Phase.FAILED, f"made-up-{number}")
        metrics.restarted(KEY, f"made-up-{number}", counted=False)
        metrics.saw(Key("MMDPOJob", f"ns-{number}", f"job-{number}"), Phase.RUNNING, blocked=False)
    closed = {
        "kind": set(KINDS),
        "phase": {"New", *Phase},
        "reason": {"Other", *FailureReason, *Reason},
        "result": {"done", "conflict", "postponed", "failed", "held", "standby", "sent"},
        "counted": {"true", "false"},
        "verb": {"get"},
        "code": {"200", "204"},
    }
    families = [one for one in metrics.registry.collect() if one.name.startswith("mmrlhf_")]
    for family in families:
        for sample in family.samples:
            for label, word in sample.labels.items():
                assert label in {"version", "le"} or word in closed[label], sample
    assert value(metrics, "mmrlhf_jobs", kind="MMDPOJob", phase="Running") == 1000
    assert (
        value(
            metrics,
            "mmrlhf_job_restarts_total",
            kind="MMDPOJob",
            reason="Other",
            counted="false",
        )
        == 1000
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_a_rare_event_is_an_increase(kind: str) -> None:
    """As Prometheus sees none in a series that begins with it."""
    metrics = Metrics()
    ends: list[tuple[Phase, str]] = [
        (Phase.SUCCEEDED, Reason.COMPLETED),
        (Phase.FAILED, Reason.CANCELLED),
        (Phase.FAILED, Reason.DEPENDENCY_FAILED),
        (Phase.FAILED, Reason.INVALID_SPEC),
        (Phase.FAILED, Reason.RESTART_BUDGET_EXHAUSTED),
        *((Phase.FAILED, reason) for reason in FailureReason),
    ]
    for phase, why in ends:
        labels = {"kind": kind, "phase": phase, "reason": why}
        assert value(metrics, "mmrlhf_jobs_ended_total", **labels) == 0
    for reason in FailureReason:
        for counted in ("true", "false"):
            labels = {"kind": kind, "reason": reason, "counted": counted}
            assert value(metrics, "mmrlhf_job_restarts_total", **labels) == 0


def test_a_job_is_counted_where_it_is_now_and_not_when_it_is_gone() -> None:
    metrics = Metrics()
    assert value(metrics, "mmrlhf_jobs", kind="RewardTrainJob", phase="Failed") == 0
    metrics.saw(KEY, None, blocked=False)
    assert value(metrics, "mmrlhf_jobs", kind="MMDPOJob", phase="New") == 1
    metrics.saw(KEY, Phase.RUNNING, blocked=True)
    assert value(metrics, "mmrlhf_jobs", kind="MMDPOJob", phase="New") == 0
    assert value(metrics, "mmrlhf_jobs", kind="MMDPOJob", phase="Running") == 1
    assert value(metrics, "mmrlhf_jobs_blocked", kind="MMDPOJob") == 1
    metrics.forget(KEY)
    assert value(metrics, "mmrlhf_jobs", kind="MMDPOJob", phase="Running") == 0
    assert value(metrics, "mmrlhf_jobs_blocked", kind="MMDPOJob") == 0


async def test_the_queue_tells_how_each_reconcile_ends_and_how_long_it_waited() -> None:
    metrics = Metrics()
    ends: dict[str, Exception | None] = {
        "done": None,
        "postponed": PostponeError("later", seconds=1000.0),
        "conflict": ServerError(status=409, reason="Conflict", message="", request=""),
        "failed": ServerError(status=500, reason="", message="", request=""),
    }
    left = set(ends)
    over = asyncio.Event()

    async def work(key: Key) -> None:
        left.discard(key.name)
        if not left:
            over.set()
        error = ends[key.name]
        if error is not None:
            raise error

    queue: WorkQueue[Key] = WorkQueue(work, deadline=60.0, first=1000.0, gauge=metrics)
    metrics.follow(depth=lambda: queue.depth, deaf=lambda: False)
    for name in ends:
        queue.add(Key("MMDPOJob", "a", name))
    assert value(metrics, "mmrlhf_queue_depth") == len(ends)
    task = asyncio.create_task(queue.run(1))
    await over.wait()
    while not queue.is_idle:  # noqa: ASYNC110 - its last turn has no event
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for result in ends:
        assert value(metrics, "mmrlhf_reconciles_total", kind="MMDPOJob", result=result) == 1
    count = "mmrlhf_reconcile_duration_seconds_count"
    assert value(metrics, count, kind="MMDPOJob") == len(ends)
    assert value(metrics, "mmrlhf_queue_wait_seconds_count") == len(ends)
    assert value(metrics, "mmrlhf_queue_depth") == 0


class Wire:
    """Answers each request with the next of its answers."""

    def __init__(self, *answers: int | BaseException, body: bytes = b"{}") -> None:
        self._answers = list(answers)
        self._body = body

    async def send(self, request: Request, *, seconds: float) -> Response:
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Response(status=answer, headers={}, body=self._body)

    async def close(self) -> None:
        pass


async def test_every_request_is_counted_by_what_it_does_and_how_it_ended() -> None:
    metrics = Metrics()
    lost = UnreachableError("away")
    wire = MeteredTransport(Wire(200, 200, 409, 201, 200, lost), metrics.asked)
    for method, query in [
        ("GET", {}),
        ("GET", {"limit": "200"}),
        ("PUT", {}),
        ("POST", {}),
        ("PATCH", {}),
    ]:
        await wire.send(Request(method=method, path="/x", query=query), seconds=1.0)
    with pytest.raises(UnreachableError):
        await wire.send(Request(method="DELETE", path="/x"), seconds=1.0)
    for verb, code in [
        ("get", "200"),
        ("list", "200"),
        ("update", "409"),
        ("create", "201"),
        ("patch", "200"),
        ("delete", "unreachable"),
    ]:
        assert value(metrics, "mmrlhf_api_requests_total", verb=verb, code=code) == 1
        assert value(metrics, "mmrlhf_api_request_duration_seconds_count", verb=verb) == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('User "system:serviceaccount:a:b" cannot create resource "pods" in API group ""', "403"),
        ("cannot set blockOwnerDeletion if an ownerReference refers to a resource", "403"),
        ("exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0", "refused"),
        ('violates PodSecurity "restricted:latest": a User cannot be root', "refused"),
    ],
)
async def test_what_a_quota_refuses_is_no_missing_right(said: str, code: str) -> None:
    metrics = Metrics()
    message = f'pods "job-0-0" is forbidden: {said}'
    body = json.dumps({"kind": "Status", "code": 403, "message": message}).encode()
    wire = MeteredTransport(Wire(403, body=body), metrics.asked)
    await wire.send(Request(method="POST", path="/x"), seconds=1.0)
    assert value(metrics, "mmrlhf_api_requests_total", verb="create", code=code) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/nodes/a", "optional"),
        ("/api/v1/namespaces/a/secrets/b", "optional"),
        ("/api/v1/namespaces/a/pods/b", "403"),
    ],
)
async def test_a_right_that_it_can_do_without_is_counted_apart(path: str, code: str) -> None:
    metrics = Metrics()
    body = json.dumps({"message": 'x "a" is forbidden: User "b" cannot get'}).encode()
    wire = MeteredTransport(Wire(403, body=body), metrics.asked)
    await wire.send(Request(method="GET", path=path), seconds=1.0)
    assert value(metrics, "mmrlhf_api_requests_total", verb="get", code=code) == 1


class ScriptedLease(Lease):
    """Is held, refused or fails as a script says; its last word holds on."""

    def __init__(self, metrics: Metrics, *script: bool | Exception) -> None:
        self.tell = metrics.tried_lease
        self.problem = None
        self._script = list(script)

    async def try_to_hold(self) -> bool:
        # Renewed by time: nobody knows how often.
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step

    async def release(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_each_try_at_the_lease_is_counted() -> None:
    metrics = Metrics()
    lease = ScriptedLease(metrics, UnreachableError("away"), False, True, True)

    async def work() -> None:
        pass

    await Leadership(lambda: lease, duration=15.0, retry=0.001).lead(work)
    assert value(metrics, "mmrlhf_lease_tries_total", result="failed") == 1
    assert value(metrics, "mmrlhf_lease_tries_total", result="standby") == 1
    held = value(metrics, "mmrlhf_lease_tries_total", result="held")
    assert held is not None
    assert held >= 1


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("text/plain", plain_text), ("application/openmetrics-text; version=1.0.0", open_metrics)],
)
async def test_prometheus_reads_them_in_either_format(accept: str, parse: Any) -> None:
    metrics = Metrics()
    tell_everything(metrics)
    address = f"127.0.0.1:{free_port()}"
    async with serve_metrics(address, metrics.registry), aiohttp.ClientSession() as session:
        url = f"http://{address}{METRICS_PATH}"
        async with session.get(url, headers={"Accept": accept}) as answer:
            assert answer.status == 200
            assert answer.content_type == accept.partition(";")[0]
            text = await answer.text()
        async with session.get(f"http://{address}/") as other:
            assert other.status == 404
    families = {family.name: family for family in parse(text)}
    assert families["mmrlhf_queue_depth"].samples[0].value == 3
    assert families["mmrlhf_leader"].samples[0].value == 1
    assert families["mmrlhf_watches_deaf"].samples[0].value == 1
    assert "process_resident_memory_bytes" in families
    assert "secret" not in text
    assert "_created" not in text

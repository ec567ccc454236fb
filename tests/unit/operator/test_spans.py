"""What a trace says of a job's life, and how it is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from mmrlhf_api.constants import Phase
from mmrlhf_api.pipelines import RUN
from mmrlhf_api.tracing import ANNOTATION_TRACEPARENT, ENV_TRACEPARENT, OBJECT, span_id
from mmrlhf_operator.acting.tracing import Tracing
from mmrlhf_operator.config import OperatorConfig, load_config
from mmrlhf_operator.errors import ConfigError
from mmrlhf_operator.planning.spans import Span
from mmrlhf_operator.rendering import manifests
from mmrlhf_operator.serving.tracing import SpanSender, otlp_exporter
from mmrlhf_operator.state.store import Key
from tests.collector import collector
from tests.unit.operator.world import CONFIG, World, job_body

UID = "5b1e4f0a-13a4-4f0c-9d3e-0a8d3c1b2f60"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Traced:
    """A job in a small world, and what is told of it; `again` is another operator."""

    def __init__(self, **metadata: Any) -> None:
        body = job_body(resources__nodes=2, runPolicy__backoffSeconds=0)
        body["metadata"] |= {"uid": UID, **metadata}
        self.world = World(body)
        self.told: list[Span] = []
        self.key = Key("MMDPOJob", "default", body["metadata"]["name"])
        self.again()

    def again(self) -> None:
        self.tracing = Tracing(self.told.extend, clock=lambda: self.world.now)

    def settle(self, seconds: float = 0) -> None:
        self.world.tick(seconds)
        for _ in range(20):
            before = self.world.job
            made = self.world.reconcile()
            if made.status != before.status:
                self.tracing.changed(self.key, before, made.status, self.world.look())
            elif not made.actions:
                return
        raise AssertionError("does not settle")

    def live(self, *, restart: bool = True) -> None:
        """Wait for nodes, run, fail once, and end well."""
        self.settle()
        for number in (0, 1) if restart else (0,):
            if self.world.job.ended:
                return
            names = [f"{self.key.name}-{number}-{index}" for index in (0, 1)]
            self.world.tick(5)
            for name in names:
                self.world.bind(name)
            self.world.tick(7)
            self.world.run(*names)
            self.settle()
            self.world.tick(60)
            for name in names:
                self.world.finish(name, 137 if number == 0 and restart else 0)
            self.settle(CONFIG.deadlines.settle + 1)
            self.world.vanish()
            self.settle()
            if number == 0 and restart and not self.world.job.ended:
                self.settle(self.world.plan().requeue_after or 0)


def test_a_life_is_a_tree_without_gaps() -> None:
    traced = Traced()
    traced.live()
    told = {one.id: one for one in traced.told}
    assert len(told) == len(traced.told)
    assert {one.trace for one in traced.told} == {UUID(UID).hex}
    roots = [one for one in traced.told if one.parent is None]
    assert [one.name for one in roots] == ["MMDPOJob"]
    (root,) = roots
    assert (root.start, root.end, root.failure) == (
        traced.world.job.created_at,
        max(one.end for one in traced.told),
        None,
    )
    assert root.attributes["mmrlhf.attempts"] == 2
    for one in traced.told:
        assert one.start <= one.end
        if one.parent is not None:
            above = told[one.parent]
            assert above.start <= one.start
            assert one.end <= above.end, (one, above)
    attempts = [one for one in traced.told if one.name == "attempt"]
    assert [(one.attributes["mmrlhf.attempt"], one.failure) for one in attempts] == [
        (0, "Killed"),
        (1, None),
    ]
    for attempt in attempts:
        assert attempt.parent == root.id
        phases = [one for one in traced.told if one.parent == attempt.id and one.name in set(Phase)]
        phases.sort(key=lambda one: one.end)
        assert phases[0].start == attempt.start
        assert phases[-1].end == attempt.end
        for earlier, later in pairwise(phases):
            assert earlier.end == later.start
        assert phases[-1].name == Phase.RUNNING


def test_pods_are_told_of_from_their_making_to_their_start() -> None:
    traced = Traced()
    traced.live()
    pods = [one for one in traced.told if one.name == "pod"]
    assert [one.attributes["k8s.pod.name"] for one in pods] == [
        f"{traced.key.name}-{attempt}-{index}" for attempt in (0, 1) for index in (0, 1)
    ]
    for pod in pods:
        parts = {one.name: one for one in traced.told if one.parent == pod.id}
        assert set(parts) == {"schedule", "start"}
        assert parts["schedule"].start == pod.start
        assert parts["schedule"].end == parts["start"].start
        assert parts["start"].end == pod.end
        assert (pod.end - pod.start) == timedelta(seconds=12)
        assert pod.attributes["k8s.node.name"] == f"node-{pod.attributes['k8s.pod.name']}"
        attempt = pod.attributes["mmrlhf.attempt"]
        assert pod.parent == span_id(UID, "attempt", attempt)


def test_another_operator_tells_of_the_same_spans() -> None:
    whole, broken = Traced(), Traced()
    settle = broken.settle

    def forgetful(seconds: float = 0) -> None:
        broken.again()
        settle(seconds)

    whole.live()
    broken.settle = forgetful  # type: ignore[method-assign]
    broken.live()
    # When a phase began, an operator that was not there knows by the job's conditions; of pods that
    # start none tells, but for their having nodes.
    for one, other in zip(whole.told, broken.told, strict=True):
        assert one.start == other.start or one.name == Phase.STARTING, (one, other)
    assert [(one.name, one.parent, one.end, one.failure) for one in whole.told] == [
        (one.name, one.parent, one.end, one.failure) for one in broken.told
    ]
    named = [[one for one in each.told if one.name not in set(Phase)] for each in (whole, broken)]
    assert [one.id for one in named[0]] == [one.id for one in named[1]]


def test_a_failure_is_told_by_its_reason() -> None:
    traced = Traced()
    traced.world.edit(runPolicy__maxRestarts=0)
    traced.live()
    failed = {one.name: one.failure for one in traced.told if one.failure is not None}
    assert set(failed) == {"attempt", "MMDPOJob"}
    assert traced.world.job.status.phase is Phase.FAILED
    assert set(failed.values()) == {traced.world.job.status.reason}


def test_words_of_users_are_in_no_span() -> None:
    traced = Traced(annotations={"note": "secret"}, labels={"team": "secret"})
    traced.live()
    assert "secret" not in repr(traced.told)


def test_a_job_is_in_the_trace_that_it_was_submitted_in() -> None:
    traced = Traced(annotations={ANNOTATION_TRACEPARENT: TRACEPARENT})
    traced.live(restart=False)
    _, trace, span, _ = TRACEPARENT.split("-")
    assert {one.trace for one in traced.told} == {trace}
    (root,) = (one for one in traced.told if one.name == "MMDPOJob")
    assert (root.parent, root.id) == (span, span_id(UID, OBJECT))


def test_processes_know_the_span_of_their_attempt() -> None:
    traced = Traced()
    traced.live()
    job = traced.world.job.job
    assert job is not None
    config = CONFIG.model_copy(update={"tracing_url": "http://collector:4318"})
    attempts = [one for one in traced.told if one.name == "attempt"]
    for number, attempt in enumerate(attempts):
        pod = manifests.pod(job, attempt=number, index=1, config=config)
        assert _environment(pod)[ENV_TRACEPARENT] == f"00-{attempt.trace}-{attempt.id}-01"
    assert ENV_TRACEPARENT not in _environment(
        manifests.pod(job, attempt=0, index=1, config=CONFIG)
    )


def _environment(pod: dict[str, Any]) -> dict[str, str]:
    (main,) = pod["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in main["env"]}


@pytest.mark.parametrize(("phase", "failure"), [("Succeeded", None), ("Failed", "StepFailed")])
def test_a_run_is_told_of_once_it_has_ended(phase: str, failure: str | None) -> None:
    traced = Traced()
    body = {"metadata": {"creationTimestamp": "2026-01-31T11:00:00Z", "uid": UID}}
    going, over = _Flow(Phase.RUNNING, "StepsRun"), _Flow(Phase(phase), failure or "Completed")
    key = Key(RUN.name, "default", "weekly-1")
    for before, now in ((_Flow(None, None), going), (going, going), (going, over), (over, over)):
        traced.tracing.flow_changed(key, body, before, now)
    (told,) = traced.told
    assert (told.name, told.id, told.failure) == (RUN.name, span_id(UID, OBJECT), failure)
    assert told.end - told.start == timedelta(hours=1)


class _Flow:
    def __init__(self, phase: Phase | None, reason: str | None) -> None:
        self.phase, self.reason = phase, reason


class Counts(dict[str, int]):
    """What became of spans."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def __call__(self, result: str, number: int) -> None:
        self[result] = self.get(result, 0) + number
        self.changed.set()

    async def reach(self, result: str, number: int) -> None:
        while self.get(result, 0) < number:
            self.changed.clear()
            await self.changed.wait()


def life() -> Sequence[Span]:
    traced = Traced()
    traced.live()
    return traced.told


@asynccontextmanager
async def running(sender: SpanSender) -> AsyncIterator[None]:
    """Have it run, and end it as an operator does."""
    task = asyncio.create_task(sender.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_collector_reads_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20word")
    told, counts = life(), Counts()
    with collector() as one:
        sender = SpanSender(otlp_exporter(one.url + "/"), count=counts, pause=0.01)
        async with running(sender):
            sender.tell(told)
            await counts.reach("sent", len(told))
    assert counts == {"sent": len(told)}
    assert [(one.name, one.trace, one.id, one.parent or None, one.failed) for one in one.spans] == [
        (one.name, one.trace, one.id, one.parent, one.failure) for one in told
    ]
    assert [one.attributes for one in one.spans] == [dict(one.attributes) for one in told]
    assert [(one.start, one.end) for one in one.spans] == [
        tuple(round(moment.timestamp()) * 10**9 for moment in (one.start, one.end)) for one in told
    ]
    assert {each["path"] for each in one.headers} == {"/v1/traces"}
    assert {each["authorization"] for each in one.headers} == {"Bearer word"}
    assert one.services == {"mmrlhf-operator"}


async def test_what_waits_is_sent_before_the_end() -> None:
    told, counts = life(), Counts()
    with collector() as one:
        sender = SpanSender(otlp_exporter(one.url), count=counts, pause=3600)
        async with running(sender):
            sender.tell(told)
        assert len(one.spans) == len(told)


async def test_a_collector_that_refuses_costs_traces_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told, counts = life(), Counts()
    with collector() as one, caplog.at_level(logging.INFO):
        one.status = 403
        sender = SpanSender(otlp_exporter(one.url), count=counts, pause=0.01)
        async with running(sender):
            for number in (1, 2):
                sender.tell(told)
                await counts.reach("failed", number * len(told))
            one.status = 200
            sender.tell(told)
            await counts.reach("sent", len(told))
    assert counts == {"failed": 2 * len(told), "sent": len(told)}
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "traces are lost",
        "traces are sent again",
    ]


class Broken(SpanExporter):
    """Sends nothing, loudly."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError(f"{len(spans)} spans")


async def test_a_library_that_breaks_costs_traces_alone() -> None:
    told, counts = life(), Counts()
    sender = SpanSender(Broken(), count=counts, pause=0.01)
    async with running(sender):
        sender.tell(told)
        await counts.reach("failed", len(told))
    assert counts == {"failed": len(told)}


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    told, counts = life(), Counts()
    sender = SpanSender(Broken(), count=counts, most=len(told) + 3)
    sender.tell(told)
    sender.tell(told)
    assert counts == {"dropped": len(told) - 3}


@pytest.mark.parametrize(
    "url", ["collector:4318", "http://", "http://user:word@collector", "ftp://x"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="tracingUrl: must be a URL of http or https"):
        load_config(None, environ={"MMRLHF_TRACING_URL": url})
    assert OperatorConfig().tracing_url is None
    known = load_config(None, environ={"MMRLHF_TRACING_URL": "http://collector:4318"})
    assert known.tracing_url == "http://collector:4318"

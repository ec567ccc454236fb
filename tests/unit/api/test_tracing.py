"""Which trace an object is of."""

from __future__ import annotations

from uuid import UUID

import pytest

from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.metadata import OwnerReference
from mmrlhf_api.pipelines import PIPELINE, RUN, SWEEP
from mmrlhf_api.tracing import (
    ANNOTATION_TRACEPARENT,
    OBJECT,
    TraceContext,
    attempt_context,
    handed_on,
    parse_traceparent,
    span_id,
    trace_context,
)

# The examples of W3C Trace Context, sections 3.2.2 and 3.2.4.
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
UID, RUN_UID = "5b1e4f0a-13a4-4f0c-9d3e-0a8d3c1b2f60", "9b1e4f0a-13a4-4f0c-9d3e-0a8d3c1b2f61"


@pytest.mark.parametrize(
    "text",
    [
        TRACEPARENT,
        f"00-{TRACE}-{SPAN}-00",
        f" {TRACEPARENT}\n",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-comes-later",
    ],
)
def test_what_the_specification_takes_is_taken(text: str) -> None:
    found = parse_traceparent(text)
    assert found == TraceContext(TRACE, SPAN)
    assert found.traceparent() == TRACEPARENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}{SPAN}-01",
    ],
)
def test_what_the_specification_refuses_is_none(text: str) -> None:
    assert parse_traceparent(text) is None
    assert trace_context({ANNOTATION_TRACEPARENT: text}, (), UID) == TraceContext(UUID(UID).hex)
    assert handed_on({ANNOTATION_TRACEPARENT: text}, UID) == {}


def owner(kind: str, *, controls: bool = True) -> OwnerReference:
    return OwnerReference(
        api_version=API_VERSION, kind=kind, name="digits", uid=RUN_UID, controller=controls
    )


@pytest.mark.parametrize("kind", [RUN.name, SWEEP.name])
def test_a_job_is_in_the_trace_of_what_made_it(kind: str) -> None:
    found = trace_context({}, [owner(kind)], UID)
    assert found == TraceContext(UUID(RUN_UID).hex, span_id(RUN_UID, OBJECT))
    whole = trace_context({}, (), RUN_UID)
    assert (whole.trace, whole.span) == (found.trace, None)


def test_a_run_has_a_trace_of_its_own() -> None:
    for one in (owner(PIPELINE.name), owner(RUN.name, controls=False), owner("Workflow")):
        assert trace_context({}, [one], UID) == TraceContext(UUID(UID).hex)


def test_a_run_that_was_told_its_trace_hands_it_on() -> None:
    told = {ANNOTATION_TRACEPARENT: TRACEPARENT}
    assert trace_context(told, [owner(RUN.name)], UID) == TraceContext(TRACE, SPAN)
    child = trace_context(handed_on(told, RUN_UID), [owner(RUN.name)], UID)
    assert child == TraceContext(TRACE, span_id(RUN_UID, OBJECT))
    assert handed_on({}, RUN_UID) == {}


def test_identities_are_of_what_they_name() -> None:
    contexts = [
        attempt_context(uid, TraceContext(TRACE), n) for uid in (UID, RUN_UID) for n in (0, 1)
    ]
    spans = {one.span for one in contexts} | {
        span_id(UID, OBJECT),
        span_id(UID, "a", "b"),
        span_id(UID, "ab"),
        span_id(UID, "attempt"),
    }
    assert len(spans) == 8
    assert all(len(one or "") == 16 for one in spans)
    assert trace_context({}, (), "not-a-uuid").trace == trace_context({}, (), "not-a-uuid").trace
    assert len(trace_context({}, (), "not-a-uuid").trace) == 32

"""One version of a job is read once, and no other one for it."""

from __future__ import annotations

from typing import Any

from mmrlhf_operator.state.job_views import JobViews
from mmrlhf_operator.state.store import Key
from tests.unit.operator.world import job_body


def body(name: str = "demo", *, uid: str = "uid-1", version: str = "1", **spec: Any) -> Any:
    found = job_body(**spec)
    found["metadata"] |= {"name": name, "uid": uid, "resourceVersion": version}
    return found


def key(name: str = "demo") -> Key:
    return Key("MMDPOJob", "default", name)


def test_a_version_is_read_once() -> None:
    views = JobViews()
    assert views.read(key(), body()) is views.read(key(), body())


def test_another_version_and_another_job_of_the_name_are_read_anew() -> None:
    views = JobViews()
    views.read(key(), body())
    suspended = views.read(key(), body(version="2", runPolicy={"suspend": True}))
    assert (suspended.suspend, suspended.resource_version) == (True, "2")
    other = views.read(key(), body(version="2", uid="uid-2"))
    assert (other.suspend, other.uid) == (False, "uid-2")


def test_a_spec_is_checked_anew_only_where_something_but_the_status_changed() -> None:
    views = JobViews()
    first = views.read(key(), body())
    status = {"phase": "Running", "attempt": 3}
    running = views.read(key(), {**body(version="2"), "status": status})
    assert running.job is first.job
    assert (running.resource_version, running.status.attempt) == ("2", 3)
    labelled = body(version="3", metadata__labels={"team": "a"})
    assert views.read(key(), labelled).job != first.job
    changed = views.read(key(), body(version="4", image="example.org/other:1"))
    assert changed.job is not None
    assert changed.job.spec.image == "example.org/other:1"
    wrong = views.read(key(), body(version="5", image=7))
    assert wrong.job is None
    still = views.read(key(), {**body(version="6", image=7), "status": status})
    assert (still.job, still.problem) == (None, wrong.problem)


def test_the_one_that_nobody_asked_for_longest_goes_first() -> None:
    views = JobViews(most=2)
    first, second = (views.read(key(name), body(name)) for name in ("first", "second"))
    assert views.read(key("first"), body("first")) is first
    views.read(key("third"), body("third"))
    assert views.read(key("first"), body("first")) is first
    assert views.read(key("second"), body("second")) is not second

"""Clocks of other machines, and of this one when it is set, decide nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mmrlhf_operator.kube.clock import SteadyClock
from mmrlhf_operator.kube.timestamps import format_time, parse_time
from tests.unit.operator.world import CONFIG, World, running, world

HOUR = timedelta(hours=1)
WRONG = [HOUR, -HOUR]


def shift(value: Any, by: timedelta) -> Any:
    """All times in a pod's status and metadata, off by so much."""
    if isinstance(value, dict):
        return {key: shift(entry, by) for key, entry in value.items()}
    if isinstance(value, list):
        return [shift(entry, by) for entry in value]
    if isinstance(value, str) and value.endswith("Z") and value[4:5] == "-":
        moment = parse_time(value)
        assert moment is not None
        return format_time(moment + by)
    return value


def set_clock(there: World, name: str, by: timedelta) -> None:
    """Whoever writes about a pod has a clock that is wrong."""
    there.pods[name] = shift(there.pods[name], by)


@pytest.mark.parametrize("by", WRONG)
def test_a_failure_is_judged_when_the_others_had_time_to_show_theirs(by: timedelta) -> None:
    there = running()
    there.finish("demo-0-1", exit_code=137)
    set_clock(there, "demo-0-1", by)
    there.settle()
    assert there.status["phase"] == "Running"
    there.tick(CONFIG.deadlines.settle - 1)
    there.settle()
    assert there.status["phase"] == "Running"
    there.tick(2)
    there.settle()
    assert there.status["phase"] == "Restarting"


@pytest.mark.parametrize("by", WRONG)
def test_the_pod_that_is_seen_to_fail_first_decides(by: timedelta) -> None:
    there = running()
    there.finish("demo-0-1", exit_code=7)
    set_clock(there, "demo-0-1", by)
    there.settle()
    there.tick(1)
    there.finish("demo-0-0", exit_code=9)
    set_clock(there, "demo-0-0", -by)
    there.settle()
    assert "demo-0-1" in there.status["message"]


@pytest.mark.parametrize("by", WRONG)
def test_an_image_is_waited_for_from_when_the_pod_was_seen_to_have_a_node(by: timedelta) -> None:
    there = world()
    there.reconcile()
    there.wait("demo-0-0", "ImagePullBackOff", "no such image")
    set_clock(there, "demo-0-0", by)
    there.settle()
    there.tick(CONFIG.deadlines.image_pull - 1)
    there.settle()
    assert there.status["phase"] == "Pending"
    there.tick(2)
    there.settle()
    assert there.status["reason"] == "ImagePullFailed"


@pytest.mark.parametrize("by", WRONG)
def test_pods_of_a_lost_node_are_forgotten_in_their_time(by: timedelta) -> None:
    there = running(runPolicy={"backoffSeconds": 0})
    there.lost_nodes.add("node-demo-0-1")
    there.delete("demo-0-1")
    grace = there.pods["demo-0-1"]["metadata"]["deletionGracePeriodSeconds"]
    set_clock(there, "demo-0-1", by)
    there.reconcile()
    there.vanish("demo-0-0")
    there.tick(grace + CONFIG.deadlines.lost_node - 1)
    there.settle()
    assert set(there.pods) == {"demo-0-1"}
    there.tick(2)
    there.settle()
    assert set(there.pods) == {"demo-1-0", "demo-1-1"}


@pytest.mark.parametrize("by", WRONG)
def test_the_active_deadline_counts_from_when_the_job_was_seen_to_run(by: timedelta) -> None:
    there = world(runPolicy={"activeDeadlineSeconds": 100})
    there.reconcile()
    there.run()
    for name in there.pods:
        set_clock(there, name, by)
    there.settle()
    there.tick(99)
    there.settle()
    assert there.status["phase"] == "Running"
    there.tick(2)
    there.settle()
    assert there.status["reason"] == "ActiveDeadlineExceeded"


def test_a_pod_that_failed_before_somebody_deleted_it_has_failed() -> None:
    there = running()
    there.finish("demo-0-1", exit_code=7)
    there.settle()
    there.tick(1)
    there.pods["demo-0-1"]["metadata"] |= {
        "deletionTimestamp": format_time(there.now),
        "deletionGracePeriodSeconds": 0,
    }
    there.tick(61)
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "ApplicationError")


def test_the_operators_own_clock_does_not_jump() -> None:
    wall, steady = [datetime(2026, 1, 31, 12, tzinfo=UTC)], [50.0]
    clock = SteadyClock(wall=lambda: wall[0], steady=lambda: steady[0])
    wall[0] -= HOUR
    steady[0] += 1.5
    assert clock() == datetime(2026, 1, 31, 12, 0, 1, 500_000, tzinfo=UTC)

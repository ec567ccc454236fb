"""Pods of attempts that failed stay, for their logs, until the next attempt has ended."""

from __future__ import annotations

import pytest

from tests.unit.operator.world import World, running


def fail(there: World, attempt: int) -> None:
    """Both pods of an attempt fail, and the next attempt gets its pods."""
    for index in (0, 1):
        there.finish(f"demo-{attempt}-{index}", exit_code=137)
    there.settle()
    there.vanish()
    there.tick(60)
    there.settle()


def pods(attempt: int) -> set[str]:
    return {f"demo-{attempt}-0", f"demo-{attempt}-1"}


def restarting() -> World:
    return running(runPolicy={"maxRestarts": 2, "backoffSeconds": 1})


def test_pods_of_one_failed_attempt_stay_while_the_next_is_under_way() -> None:
    there = restarting()
    fail(there, 0)
    assert set(there.pods) == pods(0) | pods(1)
    there.run()
    there.settle()
    assert there.status["phase"] == "Running"
    assert there.status["pods"]["summary"] == "2/2"
    assert set(there.pods) == pods(0) | pods(1)
    fail(there, 1)
    assert set(there.pods) == pods(1) | pods(2)


@pytest.mark.parametrize("code", [0, 137])
@pytest.mark.parametrize("policy", ["Running", "None"])
def test_of_a_job_that_has_ended_the_last_attempt_stays(code: int, policy: str) -> None:
    there = restarting()
    there.edit(runPolicy__cleanPodPolicy=policy)
    for attempt in (0, 1):
        fail(there, attempt)
    there.run()
    there.settle()
    for name in pods(2):
        there.finish(name, exit_code=code)
    there.settle()
    there.vanish()
    there.settle()
    assert there.status["phase"] == ("Failed" if code else "Succeeded")
    assert set(there.pods) == pods(2)
    assert there.service is None


def test_all_pods_go_where_the_policy_says_so() -> None:
    there = restarting()
    there.edit(runPolicy__cleanPodPolicy="All")
    fail(there, 0)
    there.run()
    for name in pods(1):
        there.finish(name)
    there.settle()
    there.vanish()
    there.settle()
    assert not there.pods


def test_a_job_that_is_cancelled_between_two_attempts_keeps_the_last_pods() -> None:
    there = restarting()
    there.edit(runPolicy__backoffSeconds=600)
    for name in pods(0):
        there.finish(name, exit_code=137)
    there.settle()
    there.edit(runPolicy__cancel=True)
    there.settle()
    assert there.status["reason"] == "Cancelled"
    assert set(there.pods) == pods(0)


def test_a_pod_that_others_hold_is_deleted_so_that_they_can_let_go() -> None:
    there = restarting()
    there.pods["demo-0-1"]["metadata"]["finalizers"] = ["example.org/held"]
    fail(there, 0)
    there.vanish("demo-0-1")
    there.settle()
    assert set(there.pods) == {"demo-0-0"} | pods(1)


def test_pods_that_are_kept_make_room_where_creations_are_refused() -> None:
    there = restarting()
    there.quota = 3
    fail(there, 0)
    assert not set(there.pods) & pods(0)
    there.tick(600)
    there.settle()
    assert set(there.pods) == pods(1)

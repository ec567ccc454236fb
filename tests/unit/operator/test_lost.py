"""Time of attempts that failed, by why they did."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operator.world import CONFIG, World, running, world


def lost(there: World) -> list[tuple[str, int, int]]:
    found: list[dict[str, Any]] = there.status.get("lost", [])
    return [(one["reason"], one["attempts"], one["seconds"]) for one in found]


def again(there: World) -> None:
    """The next attempt runs."""
    there.vanish()
    there.pods.clear()
    for _ in range(64):
        if there.pods:
            break
        there.tick(60)
        there.settle()
    there.run()
    there.settle()


def preempt(there: World) -> None:
    for name in sorted(there.pods):
        there.disrupt(name)
    there.tick(0)
    there.reconcile()


def kill(there: World, code: int) -> None:
    for name in sorted(there.pods):
        there.finish(name, code)
    there.tick(0)
    there.reconcile()


def test_it_is_counted_by_the_reason_for_which_each_attempt_failed() -> None:
    there = running(runPolicy={"maxRestarts": 5})
    there.tick(1000)
    preempt(there)
    assert lost(there) == [("Preempted", 1, 1000)]
    there.settle()
    assert lost(there) == [("Preempted", 1, 1000)], "once, however often it is looked at"
    again(there)
    there.tick(50)
    kill(there, 137)
    assert lost(there) == [("Preempted", 1, 1000), ("Killed", 1, 50)]
    again(there)
    there.tick(7)
    preempt(there)
    assert lost(there) == [("Preempted", 2, 1007), ("Killed", 1, 50)]


def test_the_last_failure_counts_and_success_keeps_what_was_lost() -> None:
    there = running(runPolicy={"maxRestarts": 0})
    there.tick(20)
    kill(there, 2)
    assert there.status["phase"] == "Failed"
    assert [(attempts, seconds) for _, attempts, seconds in lost(there)] == [(1, 20)]
    there = running(runPolicy={"maxRestarts": 1})
    there.tick(20)
    preempt(there)
    again(there)
    kill(there, 0)
    assert (there.status["phase"], lost(there)) == ("Succeeded", [("Preempted", 1, 20)])
    well = running()
    kill(well, 0)
    assert "lost" not in well.status


def test_what_never_ran_has_lost_no_time() -> None:
    there = world(runPolicy={"maxRestarts": 5})
    there.reconcile()
    for name in sorted(there.pods):
        there.wait(name, "ImagePullBackOff")
    there.tick(CONFIG.deadlines.image_pull + 1)
    there.reconcile()
    assert [(attempts, seconds) for _, attempts, seconds in lost(there)] == [(1, 0)]


@pytest.mark.parametrize("steps", range(4))
def test_an_operator_that_dies_counts_it_once(steps: int) -> None:
    there = running(runPolicy={"maxRestarts": 5})
    there.tick(100)
    for name in sorted(there.pods):
        there.disrupt(name)
    there.reconcile(steps=steps)
    there.settle()
    assert lost(there) == [("Preempted", 1, 100)]

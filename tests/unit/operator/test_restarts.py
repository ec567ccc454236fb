"""No way of ending starts attempts without end, and none starts them without a pause."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from mmrlhf_api import RunPolicy
from mmrlhf_api.constants import FailureReason
from mmrlhf_operator.acting.creations import Creations
from mmrlhf_operator.planning.restarts import STEADY_SECONDS, backoff, next_restart
from mmrlhf_operator.rendering.names import MAX_ATTEMPT
from mmrlhf_operator.state.views import Finding
from tests.unit.operator.world import CONFIG, START, World, running

FREE = [{"exitCodes": [1], "action": "RestartJobFree"}]


def _all(there: World, act: Callable[[str], None]) -> None:
    for name in sorted(there.pods):
        act(name)


def _exit(code: int) -> Callable[[World], None]:
    return lambda there: _all(there, lambda name: there.finish(name, code))


def _kill_for_memory(there: World) -> None:
    _all(there, lambda name: there.finish(name, 137, reason="OOMKilled"))


def _lose_the_nodes(there: World) -> None:
    _all(there, lambda name: there.lost_nodes.add(f"node-{name}"))


def _vanish(there: World) -> None:
    _all(there, there.vanish)


def _evict(there: World) -> None:
    for pod in there.pods.values():
        pod["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "memory is low"}


def _refuse(there: World) -> None:
    """The kubelet takes no such pod: it fails before it has a container."""
    for pod in there.pods.values():
        pod["status"] |= {"phase": "Failed", "reason": "UnexpectedAdmissionError"}


def _wait_for_an_image(there: World) -> None:
    _all(there, lambda name: there.wait(name, "ImagePullBackOff"))
    there.tick(CONFIG.deadlines.image_pull + 1)


WAYS: dict[str, Callable[[World], None]] = {
    "exit 1": _exit(1),
    "exit 2": _exit(2),
    "exit 137": _exit(137),
    "exit 157": _exit(157),
    "memory": _kill_for_memory,
    "preemption": lambda there: _all(there, there.disrupt),
    "taint": lambda there: _all(there, lambda name: there.disrupt(name, "DeletionByTaintManager")),
    "a new disruption": lambda there: _all(there, lambda name: there.disrupt(name, "Novel")),
    "eviction": _evict,
    "refusal": _refuse,
    "deletion": lambda there: _all(there, there.delete),
    "vanished": _vanish,
    "lost nodes": _lose_the_nodes,
    "image": _wait_for_an_image,
}
EVERYTHING_FREE = [
    {"reasons": [reason.value for reason in FailureReason], "action": "RestartJobFree"}
]


def _end_an_attempt(there: World, way: Callable[[World], None]) -> None:
    """Let the gang run, end it, and look until what comes next is decided."""
    there.run()
    there.settle()
    way(there)
    there.tick(CONFIG.deadlines.settle + 1)
    there.reconcile()
    there.vanish()
    there.pods.clear()
    there.lost_nodes.clear()
    there.settle()


def _wait(there: World) -> float:
    """Pass the time until the next attempt is created; returns the seconds of it."""
    began = there.now
    for _ in range(64):
        if there.pods:
            break
        made = there.plan()
        assert made.requeue_after is not None
        there.tick(max(made.requeue_after, 0.001))
        there.settle()
    assert there.pods
    return (there.now - began).total_seconds()


@settings(max_examples=8, deadline=None)
@given(
    ways=st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=4),
    limit=st.integers(0, 3),
    free=st.integers(0, 5),
    seconds=st.sampled_from([0, 1, 10]),
    rules=st.sampled_from([[], FREE, EVERYTHING_FREE]),
)
def test_attempts_that_end_soon_are_few_and_ever_further_apart(
    ways: list[str], limit: int, free: int, seconds: int, rules: list[dict[str, Any]]
) -> None:
    policy = {
        "maxRestarts": limit,
        "maxFreeRestarts": free,
        "backoffSeconds": seconds,
        "maxBackoffSeconds": seconds,
        "failureRules": rules,
    }
    there = running(runPolicy=policy, resources__nodes=1)
    waits: list[float] = []
    while there.status["phase"] != "Failed":
        assert there.status["attempt"] <= limit + free
        _end_an_attempt(there, WAYS[ways[there.status["attempt"] % len(ways)]])
        if there.status["phase"] != "Failed":
            waits.append(_wait(there))
    assert there.status["attempt"] == len(waits) <= limit + free
    for turn, wait in enumerate(waits, 1):
        # Restarts that count and those that are free take turns, so that there is one less.
        assert wait >= min(300.0, 2.0 ** (turn - 5)) - 1 if turn >= 5 else wait >= 0
    there.tick(1e6)
    there.settle()
    assert not [name for name in there.pods if name.startswith(f"demo-{len(waits) + 1}-")]


def _loop(way: str, **policy: Any) -> World:
    """End each attempt alike until the job does."""
    there = running(
        runPolicy={"failureRules": EVERYTHING_FREE, "backoffSeconds": 0, **policy},
        resources__nodes=1,
    )
    while there.status["phase"] != "Failed":
        _end_an_attempt(there, WAYS[way])
        assert there.status["attempt"] <= 100
        if there.status["phase"] != "Failed":
            _wait(there)
    return there


@pytest.mark.parametrize("way", sorted(WAYS))
def test_free_restarts_end_however_attempts_do(way: str) -> None:
    there = _loop(way, maxFreeRestarts=4)
    assert there.status["reason"] == "RestartBudgetExhausted"
    assert "runPolicy.maxFreeRestarts (4 in a row) is used up" in there.status["message"]
    assert (there.status["restarts"], there.status["freeRestarts"]) == (0, 4)


def test_there_is_a_limit_where_nobody_has_set_one() -> None:
    policy = {"backoffSeconds": 0, "maxBackoffSeconds": 0, "failureRules": FREE}
    there = running(runPolicy=policy, resources__nodes=1)
    there.body["status"]["freeRestarts"] = 99
    _end_an_attempt(there, WAYS["exit 1"])
    assert there.status["freeRestarts"] == 100
    assert _wait(there) >= 299
    _end_an_attempt(there, WAYS["exit 1"])
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "RestartBudgetExhausted")
    asked = RunPolicy.model_validate(policy, by_alias=True, by_name=False)
    waits = [backoff(asked, uid="u", attempt=n, restarts=0, free=n) for n in range(1, 101)]
    assert waits == sorted(waits)
    assert sum(waits) > 7 * 3600


def test_a_minute_sees_few_attempts_of_a_job_that_wants_no_pause() -> None:
    policy = {"maxRestarts": 0, "backoffSeconds": 0, "maxBackoffSeconds": 0, "failureRules": FREE}
    there = running(runPolicy=policy, resources__nodes=1)
    began = there.now
    while there.now - began < timedelta(seconds=60):
        there.run()
        there.settle()
        for name in sorted(there.pods):
            there.finish(name, 1)
        there.settle()
        there.tick(2)
        there.vanish()
        there.settle()
    assert 3 < there.status["attempt"] < 12


def test_whoever_gets_anywhere_is_disrupted_as_often_as_it_takes() -> None:
    there = running(runPolicy={"maxRestarts": 0, "maxFreeRestarts": 2})
    for attempt in range(6):
        assert there.status["attempt"] == attempt
        there.run()
        there.settle()
        there.tick(STEADY_SECONDS)
        _end_an_attempt(there, WAYS["preemption"])
        assert there.status["freeRestarts"] == 1
        assert 8 < _wait(there) < 11.1  # as after the first one
    assert there.status["restarts"] == 0


def test_the_row_is_told_from_its_second_restart_on() -> None:
    there = running()
    _end_an_attempt(there, WAYS["preemption"])
    assert "free of charge: " in there.conditions["Restarting"]["message"]
    _wait(there)
    _end_an_attempt(there, WAYS["deletion"])
    assert "free of charge (2 of 100 in a row): " in there.conditions["Restarting"]["message"]


def test_the_budget_may_be_raised_while_the_job_runs() -> None:
    there = running(runPolicy={"maxFreeRestarts": 1, "backoffSeconds": 0})
    _end_an_attempt(there, WAYS["preemption"])
    _wait(there)
    there.edit(runPolicy__maxFreeRestarts=2)
    _end_an_attempt(there, WAYS["preemption"])
    assert (there.status["attempt"], there.status["freeRestarts"]) == (2, 2)


def test_the_waits_of_today_stay_as_they_are() -> None:
    policy = RunPolicy()
    for attempt, restarts in ((1, 1), (2, 2), (3, 3)):
        wait = backoff(policy, uid="u", attempt=attempt, restarts=restarts)
        assert wait == pytest.approx(10 * 2 ** (restarts - 1), rel=0.101)
    assert backoff(policy, uid="u", attempt=1, restarts=0, free=1) == backoff(
        policy, uid="u", attempt=1, restarts=1
    )
    at_once = RunPolicy.model_validate({"backoffSeconds": 0}, by_alias=True)
    assert [backoff(at_once, uid="u", attempt=n, restarts=n) for n in (1, 2, 3)] == [0.0] * 3


@given(
    first=st.integers(0, 2**31 - 1),
    restarts=st.integers(0, 1000),
    free=st.integers(0, 1000),
    attempt=st.integers(1, MAX_ATTEMPT),
)
def test_no_wait_is_shorter_than_its_floor_or_longer_than_asked(
    first: int, restarts: int, free: int, attempt: int
) -> None:
    policy = RunPolicy.model_validate(
        {"backoffSeconds": first, "maxBackoffSeconds": first}, by_alias=True
    )
    wait = backoff(policy, uid="u", attempt=attempt, restarts=restarts, free=free)
    turn = max(restarts, 1) + max(free - 1, 0)
    floor = min(300.0, 2.0 ** min(turn - 4, 20)) if turn > 3 else 0.0
    assert floor <= wait <= max(floor, first)


def test_names_end_before_attempts_do() -> None:
    status = running().job.status.model_copy(update={"attempt": MAX_ATTEMPT})
    for counts in (True, False):
        found = next_restart(RunPolicy(), status, counts=counts, now=START)
        assert found.exhausted is not None
        assert str(MAX_ATTEMPT) in found.exhausted


def test_manifests_are_remembered_only_while_something_is_in_their_way() -> None:
    creations, now = Creations(), START
    pods = [{"kind": "Pod", "metadata": {"name": "demo-0-0"}}]
    creations.note("u", pods, (Finding(reason="NameConflict", message="taken"),), now=now)
    assert creations.wanted == tuple(pods)
    creations.note("u", pods, (), now=now)
    assert creations.wanted == ()


def test_pods_that_are_taken_away_before_they_have_nodes_are_not_made_without_a_pause() -> None:
    creations, now = Creations(), START

    def wait() -> float | None:
        retry_at = creations.retry_at
        return None if retry_at is None else (retry_at - now).total_seconds()

    pods = [{"kind": "Pod", "metadata": {"name": f"demo-0-{index}"}} for index in (0, 1)]
    shared = [{"kind": "Service", "metadata": {"name": "mmdpo-demo"}}]
    creations.note("u", [*shared, *pods], (), now=now)
    assert wait() is None
    waits = []
    for _ in range(12):
        creations.note("u", pods[1:], (), now=now)
        waits.append(wait() or 0.0)
        creations.note("u", shared, (), now=now)  # that says nothing of pods
    assert 2.5 <= waits[0] <= 7.5
    assert all(wait >= 30 for wait in waits[4:])
    # The next attempt begins with a clean sheet.
    later = json.loads(json.dumps(pods).replace("demo-0", "demo-1"))
    creations.note("u", later, (), now=now)
    assert wait() is None

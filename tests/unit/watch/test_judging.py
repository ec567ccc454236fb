"""Which process holds all others up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmrlhf_jobs.watch.judging import Limits, Sighting, judge
from mmrlhf_jobs.watch.position import Place

LIMITS = Limits(step=300, stopped=10)
LONG = 301.0
WAITS = (
    "step 3, forward of micro-batch 1 of 2, waiting for the others in a sum of 4 numbers, on a,"
    " row 7"
)
AT_WORK = Place(
    rank=0,
    pid=1,
    beat=9,
    step=3,
    move=4,
    doing="forward of micro-batch 1 of 2",
    timed=True,
    rows=("a, row 7",),
)


def seen(rank: int, *, still: float = LONG, **changes: object) -> Sighting:
    place = replace(AT_WORK, rank=rank, **changes)  # type: ignore[arg-type]
    return Sighting(place, node=rank // 2, still=still)


def waiting(rank: int, **changes: object) -> Sighting:
    return seen(rank, **{"waits": "a sum of 4 numbers", "move": 9, **changes})  # type: ignore[arg-type]


def test_the_one_that_the_others_wait_for_is_named_with_its_rows() -> None:
    verdict = judge([waiting(0), seen(1), waiting(2)], LIMITS, world_size=3)
    assert verdict is not None
    assert (verdict.rank, verdict.node, verdict.died) == (1, 0, False)
    assert verdict.message == (
        "rank 1 on node 0 has not got on for 301 s, in step 3, forward of micro-batch 1 of 2, on"
        f" a, row 7. rank 0 is in {WAITS}. rank 2 is in {WAITS}"
    )


@pytest.mark.parametrize(
    "first",
    [
        (seen(0), seen(1, move=3)),
        (seen(0), seen(1, step=2, move=30)),
        (waiting(0), waiting(1, move=8)),
        (seen(0), seen(1, still=LONG + 1)),
        (waiting(0, move=2), seen(1, move=9)),
    ],
    ids=["earlier in the step", "in an earlier step", "all wait", "for longer", "at work"],
)
def test_it_is_the_one_that_has_come_least_far(first: tuple[Sighting, Sighting]) -> None:
    for order in (first, first[::-1]):
        verdict = judge(order, LIMITS, world_size=2)
        assert verdict is not None
        assert verdict.rank == 1


@pytest.mark.parametrize(
    "others",
    [
        [seen(1, still=299.0)],
        [waiting(1, still=299.0)],
        [seen(1, timed=False, doing="loading")],
        [seen(1, first=True, still=899.0)],
        [],
    ],
    ids=["at work", "got on", "as long as it must", "first step", "not begun"],
)
def test_nobody_is_at_fault_while_one_may_get_on(others: list[Sighting]) -> None:
    assert judge([waiting(0), *others], LIMITS, world_size=2) is None


def test_the_first_step_has_more_time_and_not_for_ever() -> None:
    both = [waiting(0, still=901.0, first=True), seen(1, still=901.0, first=True)]
    assert judge(both, LIMITS, world_size=2) is not None


def test_one_process_alone_is_not_watched() -> None:
    assert judge([seen(0)], LIMITS, world_size=1) is None


def test_one_that_has_ended_well_is_no_longer_waited_for() -> None:
    done = replace(seen(1, code=0), gone=1000.0)
    assert judge([seen(0, still=1.0), done], LIMITS, world_size=2) is None
    assert judge([waiting(0, still=600.0, first=True), done], LIMITS, world_size=2) is None
    verdict = judge([waiting(0), done], LIMITS, world_size=2)
    assert verdict is not None
    assert verdict.rank == 0


@pytest.mark.parametrize("timed", [True, False])
def test_one_that_is_stopped_is_told_wherever_it_is(timed: bool) -> None:
    stopped = replace(seen(1, still=11.0, timed=timed), stopped=11.0)
    verdict = judge([seen(0, still=1.0), stopped], LIMITS, world_size=2)
    assert verdict is not None
    assert "rank 1 on node 0 is stopped by a signal (SIGSTOP) since 11 s, in " in verdict.message
    assert judge([seen(0), replace(stopped, stopped=9.0)], LIMITS, world_size=2) is None


def test_one_that_is_gone_without_a_word_ends_the_others() -> None:
    gone = replace(seen(1, still=11.0), gone=11.0)
    verdict = judge([seen(0, still=1.0, timed=False), gone], LIMITS, world_size=2)
    assert verdict is not None
    assert (verdict.rank, verdict.died) == (1, True)
    assert judge([seen(0), replace(gone, gone=9.0)], LIMITS, world_size=2) is None


def test_one_that_ended_with_an_error_leaves_others_the_time_to_end_their_own_work() -> None:
    gone = replace(seen(1, code=2), gone=11.0)
    saving = seen(0, timed=False, doing="between steps")
    assert judge([saving, gone], LIMITS, world_size=2) is None
    assert judge([seen(0, still=1.0), gone], LIMITS, world_size=2) is None
    verdict = judge([waiting(0, still=11.0), gone], LIMITS, world_size=2)
    assert verdict is not None
    assert verdict.message.startswith("rank 1 on node 0 has ended with an error in step 3")


def test_of_many_the_first_ones_are_shown() -> None:
    verdict = judge([seen(0), *(waiting(n) for n in range(1, 32))], LIMITS, world_size=32)
    assert verdict is not None
    assert verdict.message.endswith("and 23 more")

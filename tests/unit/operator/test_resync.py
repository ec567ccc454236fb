"""Each job is looked at once in each period, and not all of them at once."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from mmrlhf_operator.acting.resync import due, steps

PERIOD = 300.0


def uids(number: int) -> list[tuple[str, int]]:
    rng = random.Random(number)
    return [(str(UUID(int=rng.getrandbits(128), version=4)), index) for index in range(number)]


@pytest.mark.parametrize("began", [0.0, 7.5, 1_234_567.0])
def test_each_comes_once_in_each_period_however_it_is_walked(began: float) -> None:
    jobs, rng = uids(50), random.Random(3)
    moments = [began, *sorted(began + 4 * PERIOD * rng.random() for _ in range(70))]
    moments.append(began + 4 * PERIOD)
    came: Counter[int] = Counter()
    for since, until in pairwise(moments):
        came.update(due(jobs, period=PERIOD, since=since, until=until))
    assert came == dict.fromkeys(range(50), 4)


def test_they_are_spread_evenly_over_the_period() -> None:
    jobs, number = uids(3000), steps(PERIOD)
    edges = [PERIOD * step / number for step in range(number + 1)]
    came = [len(due(jobs, period=PERIOD, since=a, until=b)) for a, b in pairwise(edges)]
    assert sum(came) == len(jobs)
    # A hundred each; as far from that as a fair coin may be, and no further.
    assert max(came) < 140
    assert min(came) > 60


def test_each_has_its_own_time_whoever_else_there_is() -> None:
    jobs = uids(100)
    within = {"period": PERIOD, "since": 100.0, "until": 130.0}
    every = due(jobs, **within)
    assert every
    assert [index for job in jobs for index in due([job], **within)] == every
    later = {**within, "since": 100.0 + 9 * PERIOD, "until": 130.0 + 9 * PERIOD}
    assert due(jobs, **later) == every


@pytest.mark.parametrize(("period", "number"), [(0.3, 1), (1.5, 1), (12.0, 12), (300.0, 30)])
def test_a_period_is_walked_in_steps_of_a_second_and_more(period: float, number: int) -> None:
    assert steps(period) == number


def test_a_step_as_long_as_the_period_is_for_all() -> None:
    jobs = uids(20)
    assert due(jobs, period=0.3, since=10.0, until=10.31) == list(range(20))

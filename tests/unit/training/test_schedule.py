"""Learning-rate schedules."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from mmrlhf_jobs.training.schedule import learning_rate

Schedule = Literal["cosine", "linear", "constant"]


def rates(schedule: Schedule, *, total: int = 20, warmup: float = 0.25) -> list[float]:
    return [
        learning_rate(step, total_steps=total, peak=2.0, warmup_ratio=warmup, schedule=schedule)
        for step in range(total)
    ]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_warm_up_rises_to_the_peak(schedule: Schedule) -> None:
    assert rates(schedule)[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    found = rates("cosine", total=40, warmup=0.0)
    assert found[0] == 2.0
    assert found[20] == pytest.approx(1.0)
    assert found[30] == pytest.approx(1 - math.sqrt(0.5))
    assert found == sorted(found, reverse=True)


def test_linear_ends_one_step_above_zero() -> None:
    assert rates("linear", total=10, warmup=0.0)[-1] == pytest.approx(0.2)


def test_constant_stays() -> None:
    assert set(rates("constant", warmup=0.0)) == {2.0}


def test_a_warm_up_of_the_whole_job_never_divides_by_zero() -> None:
    assert rates("cosine", total=4, warmup=1.0)[-1] == 2.0

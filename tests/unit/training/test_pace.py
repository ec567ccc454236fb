"""Speed and time to go."""

from __future__ import annotations

import pytest

from mmrlhf_jobs.training.pace import Pace


def test_steady_steps_give_their_speed_and_the_time_to_go() -> None:
    times = iter([10.0, 12.0, 14.0])
    pace = Pace(total_steps=10, clock=lambda: next(times))
    assert pace.note(step=1, tokens=100) == {
        "seconds": 2.0,
        "tokensPerSecond": 50.0,
        "etaSeconds": 18.0,
    }
    assert pace.note(step=2, tokens=100)["etaSeconds"] == pytest.approx(16.0)


def test_recent_steps_weigh_more() -> None:
    times = iter([0.0, 1.0, 5.0])
    pace = Pace(total_steps=3, clock=lambda: next(times))
    pace.note(step=1, tokens=10)
    assert pace.note(step=2, tokens=10)["etaSeconds"] == pytest.approx(1.0 + 0.2 * 3.0)

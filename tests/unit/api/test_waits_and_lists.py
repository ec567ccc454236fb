"""Waits that double, and lists that are cut short."""

from __future__ import annotations

import pytest

from mmrlhf_api.backoff import doubling_wait
from mmrlhf_api.listing import first_few


def test_waits_double_up_to_the_longest() -> None:
    waits = [doubling_wait(attempt, first=0.5, longest=3.0) for attempt in range(1, 6)]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("attempt", [1024, 10**6])
def test_any_number_of_attempts_has_a_wait(attempt: int) -> None:
    assert doubling_wait(attempt, first=0.25, longest=10.0) == 10.0


def test_no_first_wait_is_no_wait() -> None:
    assert doubling_wait(40, first=0.0, longest=10.0) == 0.0


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [
        (0, None, []),
        (2, None, ["0", "1"]),
        (3, None, ["0", "1", "2"]),
        (5, None, ["0", "1", "2", "and 2 more"]),
        (2, 7, ["0", "1", "and 5 more"]),
        (4, 7, ["0", "1", "2", "and 4 more"]),
    ],
)
def test_the_first_few_and_how_many_more(
    count: int, total: int | None, expected: list[str]
) -> None:
    assert first_few(range(count), total=total, shown=3) == expected

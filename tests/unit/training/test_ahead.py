"""What is made ready ahead: in which order, by whom, and what becomes of errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.training.ahead import ahead, timed
from mmrlhf_jobs.training.checkpoints import share_of
from tests.patience import PATIENCE


def test_the_next_is_made_while_one_is_worked_on_and_none_more() -> None:
    begun = [threading.Event() for _ in range(4)]
    threads = set()

    def items() -> Iterator[int]:
        for number, event in enumerate(begun):
            threads.add(threading.current_thread().name)
            event.set()
            yield number

    found = []
    for number in ahead(items()):
        found.append(number)
        if number < 3:
            assert begun[number + 1].wait(120 * PATIENCE), "it is made meanwhile"
        assert [event.is_set() for event in begun] == [n <= number + 1 for n in range(4)]
    assert found == [0, 1, 2, 3]
    assert threads == {"ahead_0"}


def test_an_error_comes_in_the_place_of_what_could_not_be_made() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("row 3 has no picture")

    coming = ahead(items())
    assert (next(coming), next(coming)) == (1, 2)
    with pytest.raises(DataError, match="row 3 has no picture"):
        next(coming)


def test_what_was_waited_is_the_time_until_an_item_came_and_not_what_was_done_with_it() -> None:
    now = [0.0]

    def items() -> Iterator[str]:
        for name, seconds in (("a", 3.0), ("b", 0.0), ("c", 0.25)):
            now[0] += seconds
            yield name

    found = []
    for name, waited in timed(items(), lambda: now[0]):
        found.append((name, waited))
        now[0] += 100.0
    assert found == [("a", 3.0), ("b", 0.0), ("c", 0.25)]


@pytest.mark.parametrize("parts", range(1, 9))
@pytest.mark.parametrize("processes", range(1, 9))
def test_a_share_lies_in_the_parts_that_it_overlaps(parts: int, processes: int) -> None:
    for rank in range(processes):
        # In pieces of which both divide the row: 1 / (parts * processes).
        own = range(rank * parts, (rank + 1) * parts)
        expected = {piece // processes for piece in own}
        assert set(share_of(parts, rank, processes)) == expected

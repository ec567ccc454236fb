"""Where a process is, for whoever reads it meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmrlhf_jobs.watch.position import Place, Position, place_file, read_place


def test_what_is_told_is_read_at_once_and_after_its_end(tmp_path: Path) -> None:
    position = Position.from_environment({"RANK": "3", "MMRLHF_WATCH": str(tmp_path)})
    file = place_file(tmp_path, 3)
    start = read_place(file)
    assert start is not None
    assert (start.rank, start.pid, start.words) == (3, os.getpid(), "starting")
    beats = [start.beat]
    with position.timed(7, first=True):
        position.enter("forward of micro-batch 1 of 1", rows=["a, row 1", "a, row 2"])
        with position.waiting("a sum of 2 numbers"):
            found = read_place(file)
            assert found is not None
            assert (found.step, found.timed, found.first) == (7, True, True)
            assert found.words == (
                "step 7, forward of micro-batch 1 of 1, waiting for the others in a sum of 2"
                " numbers, on a, row 1; a, row 2"
            )
            beats.append(found.beat)
        found = read_place(file)
        assert found is not None
        assert found.waits == ""
        beats.append(found.beat)
    found = read_place(file)
    assert found is not None
    assert (found.timed, found.rows, found.words) == (False, (), "after step 7, between steps")
    beats.append(found.beat)
    assert beats == sorted(set(beats)), "it beats with each"
    position.end(143)
    found = read_place(file)
    assert found is not None
    assert found.code == 143


def test_the_page_holds_the_longest_names(tmp_path: Path) -> None:
    position = Position(Place(0, 1), place_file(tmp_path, 0))
    with position.timed(1, first=False):
        position.enter("x" * 100, rows=["é" * 1000] * 20)
    position.enter("next")
    for letter in ("é", "\U0001f3d6", "\0", "\udc80"):
        position.enter("x" * 100, rows=[letter * 1000] * 20)
    with position.timed(2, first=False):
        position.enter("forward", rows=["é" * 1000] * 20)
        found = read_place(place_file(tmp_path, 0))
    assert found is not None
    assert found.rows[-1] == "and 16 more"
    assert place_file(tmp_path, 0).stat().st_size == 4096


def test_nobody_reads_half_of_what_is_told(tmp_path: Path) -> None:
    file = place_file(tmp_path, 0)
    assert read_place(file) is None
    Position(Place(0, 1), file)
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    assert read_place(file) is None
    file.write_bytes(b"")
    assert read_place(file) is None


def test_without_a_watch_it_is_told_nowhere() -> None:
    position = Position.from_environment({})
    with position.timed(1, first=True):
        position.enter("forward", rows=["a"])
    assert not position.place.timed


def test_a_step_that_fails_is_no_longer_timed() -> None:
    position = Position(Place(0, 1))
    with (
        pytest.raises(RuntimeError, match="lost"),
        position.timed(1, first=True),
        position.waiting("a sum"),
    ):
        raise RuntimeError("lost")
    assert (position.place.timed, position.place.waits) == (False, "")

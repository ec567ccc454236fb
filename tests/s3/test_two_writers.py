"""Attempts that were cut off and come back, at every request to a real object store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import SupersededError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.s3 import PatientS3
from tests.s3.conftest import Bucket
from tests.unit.storage.writers import LAYOUT, Gate, Killed, Writer, look, pass_gate, work

READS = frozenset({"get_object", "head_object", "list_objects_v2"})


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look and each request that changes something pass the gate of their writer.

    Its other requests, such as those that a look is made of, and other writers go on.
    """

    def gated(name: str, counts: Callable[[tuple[object, ...]], bool]) -> None:
        call = getattr(PatientS3, name)

        async def passing(self: PatientS3, *arguments: object, **named: object) -> object:
            if (gate := pass_gate()) is not None and counts(arguments):
                await asyncio.get_running_loop().run_in_executor(None, gate.pass_through)
            return await call(self, *arguments, **named)

        monkeypatch.setattr(PatientS3, name, passing)

    gated("_call_s3", lambda arguments: arguments[0] not in READS)
    gated("_find", lambda _: True)
    gated("_cat_file", lambda _: True)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / str(number) for number in count())


def start(store: ArtifactStore, word: str, scratch: Path, gate: Gate) -> Writer:
    writer = Writer(lambda: work(store, word, scratch), gate)
    writer.start()
    gate.reached.wait()
    return writer


def test_whenever_the_first_writer_is_cut_off_one_whole_run_is_visible(
    bucket: Bucket, scratch: Iterator[Path]
) -> None:
    """It is stopped before each of its requests in turn, and goes on when the second has ended."""
    alone = Gate()
    assert start(bucket.store("alone"), "one", next(scratch), alone).end() is None
    assert alone.calls > 50, "the requests do not pass the gate"
    superseded = 0
    for stop in range(1, alone.calls + 1):
        store = bucket.store(f"stop-{stop}")
        first = start(store, "one", next(scratch), Gate(stop_at=stop))
        work(store, "two", next(scratch))
        shown, noted = look(store, next(scratch)), store.read_text(LAYOUT.attempts)
        assert shown in ("one", "two")
        error = first.end()
        assert isinstance(error, SupersededError | None), (stop, error)
        superseded += error is not None
        assert look(store, next(scratch)) == shown, f"changed by the first, stopped at {stop}"
        if error is not None:  # else it claimed the run last
            assert store.read_text(LAYOUT.attempts) == noted, f"first, stopped at {stop}"
        left = any("/results/" in key for key in store.sizes())  # decided too late
        if left or stop % 8 == 0:
            work(store, "three", next(scratch))
            assert look(store, next(scratch)) == shown, "it was complete"
    assert superseded > alone.calls // 2
    assert bucket.server.unfinished_uploads(bucket.name) == []


def test_a_run_that_was_killed_anywhere_is_whole_after_the_next(
    bucket: Bucket, scratch: Iterator[Path]
) -> None:
    alone = Gate()
    assert start(bucket.store("alone"), "one", next(scratch), alone).end() is None
    for kill in range(1, alone.calls + 1, 6):
        store = bucket.store(f"kill-{kill}")
        assert isinstance(start(store, "one", next(scratch), Gate(kill_at=kill)).end(), Killed)
        work(store, "two", next(scratch))
        assert look(store, next(scratch)) in ("one", "two")
        left = {key.removeprefix(f"{LAYOUT.prefix}/").partition("/")[0] for key in store.sizes()}
        assert left == {
            "attempts.json",
            "claim.json",
            "manifest.json",
            "metrics.jsonl",
            "model",
        }

"""What a look makes of processes, of time that passes, and of what other nodes tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mmrlhf_jobs.watch.flight import pending_collective
from mmrlhf_jobs.watch.judging import Limits, Sighting, Verdict
from mmrlhf_jobs.watch.nodes import Alone
from mmrlhf_jobs.watch.position import Place, Position, place_file
from mmrlhf_jobs.watch.watching import Watch, Watched


class Other:
    """Another node, with rank 1."""

    def __init__(self) -> None:
        self.place = Place(1, 1, step=3, timed=True, doing="forward")
        self.word: Verdict | None = None
        self.asked = 0

    def exchange(self, own: Sequence[Sighting]) -> Sequence[Sighting]:
        self.asked += 1
        return [Sighting(self.place, node=1)]

    def tell(self, verdict: Verdict) -> None:
        self.word = verdict

    def verdict(self, *, patience: timedelta | None = None) -> Verdict | None:
        return self.word


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def position(tmp_path: Path) -> Position:
    return Position(Place(0, os.getpid()), place_file(tmp_path, 0))


@pytest.fixture
def other() -> Other:
    return Other()


@pytest.fixture
def watch(tmp_path: Path, clock: Clock, other: Other) -> Watch:
    limits = Limits(step=10, stopped=3)
    watched = Watched(tmp_path, node=0, world_size=2, nodes=other, limits=limits)
    return Watch(watched, lambda _: None, clock=clock)


def looks(watch: Watch, clock: Clock, seconds: int) -> Verdict | None:
    for _ in range(seconds):
        clock.now += 1
        if (verdict := watch.look()) is not None:
            return verdict
    return None


def test_where_nobody_gets_on_the_job_ends(
    watch: Watch, clock: Clock, position: Position, other: Other
) -> None:
    with position.timed(3, first=False), position.waiting("a sum"):
        assert looks(watch, clock, 11) is None
        verdict = looks(watch, clock, 1)
    assert verdict is not None
    assert (verdict.rank, verdict.node) == (1, 1)


def test_one_that_gets_on_keeps_all_alive(
    watch: Watch, clock: Clock, position: Position, other: Other
) -> None:
    with position.timed(3, first=False):
        for _ in range(5):
            assert looks(watch, clock, 9) is None
            position.enter("backward")


def test_time_that_nobody_looked_at_does_not_count(
    watch: Watch, clock: Clock, position: Position
) -> None:
    with position.timed(3, first=False), position.waiting("a sum"):
        assert looks(watch, clock, 3) is None
        clock.now += 10_000  # asleep, or stopped with all others
        assert watch.look() is None
        assert looks(watch, clock, 5) is None
        assert looks(watch, clock, 3) is not None


def test_the_store_is_left_alone_before_there_is_one_and_when_all_have_ended(
    tmp_path: Path, watch: Watch, clock: Clock, other: Other
) -> None:
    looks(watch, clock, 3)
    assert other.asked == 0
    position = Position(Place(0, os.getpid()), place_file(tmp_path, 0))
    looks(watch, clock, 3)
    assert other.asked == 3
    position.end(0)
    looks(watch, clock, 3)
    assert other.asked == 3


def test_a_node_that_fails_leaves_the_others_some_seconds_and_one_at_fault_none(
    watch: Watch, clock: Clock, position: Position, other: Other
) -> None:
    watch.look()
    other.word = Verdict(1, 1, "rank 1 was killed", died=True)
    assert looks(watch, clock, 3) is None
    assert looks(watch, clock, 1) == other.word
    other.word = Verdict(1, 1, "rank 1 stands still")
    assert watch.look() == other.word


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    yield process
    process.kill()
    process.wait()


def test_processes_that_are_stopped_and_gone_are_known_by_the_system(
    tmp_path: Path, clock: Clock, sleeper: subprocess.Popen[bytes]
) -> None:
    watched = Watched(tmp_path, 0, 2, Alone(), Limits(step=1000, stopped=3))
    watch = Watch(watched, lambda _: None, clock=clock)
    Position(Place(0, sleeper.pid), place_file(tmp_path, 0))
    Position(Place(1, os.getpid()), place_file(tmp_path, 1))
    assert looks(watch, clock, 9) is None
    sleeper.send_signal(signal.SIGSTOP)
    while "T" not in Path(f"/proc/{sleeper.pid}/stat").read_text().split()[2]:
        time.sleep(0.001)
    verdict = looks(watch, clock, 9)
    assert verdict is not None
    assert "rank 0 on node 0 is stopped by a signal" in verdict.message
    sleeper.send_signal(signal.SIGCONT)
    while "T" in Path(f"/proc/{sleeper.pid}/stat").read_text().split()[2]:
        time.sleep(0.001)
    assert looks(watch, clock, 9) is None, "it goes on"
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    verdict = looks(watch, clock, 9)
    assert verdict is not None
    assert verdict.died


def test_records_that_are_none_are_no_collectives(tmp_path: Path) -> None:
    file = tmp_path / "collectives-rank-0-gloo.json"
    assert pending_collective(tmp_path, 0) is None
    for content in (b"", b"{", b"[]", b'{"entries": [1]}', b'{"entries": [{"retired": false}]}'):
        file.write_bytes(content)
        assert pending_collective(tmp_path, 0) is None
    over = '{"retired": true}'
    file.write_text(f'{{"entries": [{over}]}}')
    assert pending_collective(tmp_path, 0) is None

"""The log of a node in a store that works, fails, is slow, or comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from mmrlhf_api.run_logs import FIRST_PIECES, LAST_PIECES, PIECE_BYTES, LogPiece, expired_piece
from mmrlhf_jobs.errors import InputError, StorageUnavailableError
from mmrlhf_jobs.log_archive import archive as module
from mmrlhf_jobs.log_archive.archive import LogArchive


class Store:
    """Keeps pieces in memory; `problem` is raised by each write while it is set."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.uri = "s3://bucket/run/logs"
        self.secrets: tuple[str, ...] = ()
        self.pieces: dict[int, str] = {}
        self.problem = problem
        self.wrote = threading.Semaphore(0)
        self.failed = threading.Semaphore(0)

    def write(self, number: int, text: str) -> None:
        if self.problem is not None:
            self.failed.release()
            raise self.problem
        self.pieces[number] = text
        self.wrote.release()

    def remove(self, number: int) -> None:
        self.pieces.pop(number, None)

    @property
    def lines(self) -> list[str]:
        text = "".join(self.pieces[number] for number in sorted(self.pieces))
        return [line.split(" ", 1)[1] for line in text.splitlines()]


def archive(store: Store, told: list[str], *, seconds: float = 0.01) -> LogArchive:
    return LogArchive(lambda: store, tell=told.append, seconds=seconds)


def test_what_is_written_is_stored_while_it_goes_on_and_at_the_end() -> None:
    store, told = Store(), list[str]()
    log = archive(store, told)
    log.take("stdout", b"one\ntw")
    assert store.wrote.acquire(timeout=600)
    assert store.lines == ["one"]
    log.take("stderr", b"an error\n")
    log.take("stdout", b"o\nthe end without a line feed")
    log.close()
    assert store.lines == ["one", "an error", "two", "the end without a line feed"]
    assert told == []
    assert list(store.pieces) == [0]


def test_lines_say_when_they_were_written() -> None:
    store = Store()
    log = archive(store, [])
    log.take("stdout", b"one\n")
    log.close()
    time, _, _ = store.pieces[0].partition(" ")
    assert time[10] == "T"
    assert time.endswith("Z")


def test_pieces_are_bounded_and_hold_whole_lines() -> None:
    store = Store()
    log = archive(store, [], seconds=60)
    line = b"x" * 999 + b"\n"
    count = 3 * PIECE_BYTES // 1000
    for _ in range(count):
        log.take("stdout", line)
    log.close()
    assert sorted(store.pieces) == [0, 1, 2, 3]
    assert all(len(text) <= PIECE_BYTES and text.endswith("\n") for text in store.pieces.values())
    assert store.lines == ["x" * 999] * count


def test_a_store_that_is_away_is_told_once_and_gets_all_when_it_is_back() -> None:
    store, told = Store(StorageUnavailableError("the store is away")), list[str]()
    log = archive(store, told)
    log.take("stdout", b"one\n")
    for _ in range(3):
        assert store.failed.acquire(timeout=600)
    store.problem = None
    assert store.wrote.acquire(timeout=600)
    log.take("stdout", b"two\n")
    log.close()
    assert store.lines == ["one", "two"]
    assert [line.partition(":")[2].strip()[:12] for line in told] == [
        "cannot store",
        "this node's ",
    ]


@pytest.mark.parametrize(
    "problem", [InputError("no permission"), ValueError("a fault of a library")]
)
def test_a_store_that_refuses_ends_nothing_and_what_is_lost_is_counted(problem: Exception) -> None:
    told = list[str]()
    log = archive(Store(problem), told, seconds=60)
    log.take("stdout", b"one\n")
    log.close(timeout=60)
    assert len(told) == 2
    assert str(problem) in told[0]
    assert "32 bytes" in told[1]  # with the time and a space
    assert "s3://bucket/run/logs" in told[1]


def test_a_store_that_cannot_be_opened_ends_nothing() -> None:
    def refuse() -> Store:
        raise InputError("no such job file")

    told = list[str]()
    log = LogArchive(refuse, tell=told.append, seconds=60)
    log.take("stdout", b"one\n")
    log.close(timeout=60)
    assert "no such job file" in told[0]
    assert "4 bytes" in told[1]


def test_a_store_that_hangs_holds_nobody_up() -> None:
    held = threading.Event()

    class Hanging(Store):
        def write(self, number: int, text: str) -> None:
            held.wait()

    told = list[str]()
    log = archive(Hanging(), told)
    try:
        for _ in range(100):
            log.take("stdout", b"x" * 2**17)  # 12 MiB, more than may wait
        log.close(timeout=0.1)
        assert log._size <= module._MOST_WAITING
        assert "are not at" in told[-1]
    finally:
        held.set()


def test_what_found_no_room_is_told_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 25)
    opened = threading.Event()
    store, told = Store(), list[str]()

    def wait() -> Store:
        opened.wait()
        return store

    log = LogArchive(wait, tell=told.append, seconds=0.01)
    for text in (b"the first\n", b"the second\n", b"the third\n"):
        log.take("stdout", text)
    opened.set()
    log.close(timeout=60)
    assert store.lines[0].startswith("log: 10 bytes are missing before this line")
    assert store.lines[1:] == ["the second", "the third"]
    assert told == ["log: 10 bytes of this node's log are not at s3://bucket/run/logs"]


def test_of_a_log_without_end_the_first_and_the_last_pieces_stay() -> None:
    kept: set[int] = set()
    for number in range(1000):
        kept.add(number)
        kept.discard(-1 if (old := expired_piece(number)) is None else old)
    assert kept == {*range(FIRST_PIECES), *range(1000 - LAST_PIECES, 1000)}


def test_pieces_that_expire_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 40)
    monkeypatch.setattr(module, "expired_piece", lambda n: n - 2 if n >= 3 else None)
    store = Store()
    wrote: Callable[[], bool] = lambda: store.wrote.acquire(timeout=600)  # noqa: E731
    log = archive(store, [])
    for number in range(6):
        log.take("stdout", b"line %d\n" % number)
        assert wrote()
    log.close()
    assert sorted(store.pieces) == [0, 4, 5]


def test_keys_are_read_as_they_are_written() -> None:
    piece = LogPiece(attempt=2, node=10, start="20260101T000000Z-ab", number=7)
    assert piece.key == "attempt-2/node-10/20260101T000000Z-ab/000007.log"
    assert LogPiece.parse(piece.key) == piece
    assert LogPiece.parse("attempt-2/node-10/other") is None

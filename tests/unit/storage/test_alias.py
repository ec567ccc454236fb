"""Aliases on a disk: moved at once, by one of several, and never to what is not whole."""

from __future__ import annotations

import json
import multiprocessing
import threading
from functools import partial
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import DamagedError, InputError, RunError
from mmrlhf_jobs.storage import alias as module
from mmrlhf_jobs.storage.alias import AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marker import MARKER
from mmrlhf_jobs.storage.switch import Switch
from tests.unit.storage.moves import NAME, Mover, race, time


@pytest.fixture
def mover(tmp_path: Path) -> Mover:
    return Mover(ArtifactStore(str(tmp_path / "store")), tmp_path / "scratch", None)


def test_a_move_names_artifact_digest_time_and_cause(mover: Mover, tmp_path: Path) -> None:
    moved = mover.move("one")
    assert moved == mover.read()
    written = json.loads((tmp_path / "store" / "aliases" / f"{NAME}.json").read_text())
    assert written["current"]["uri"] == f"{mover.store.uri}/models/one"
    assert written["current"]["digest"] == artifact_digest(written["current"]["uri"])
    assert written["current"]["since"] == "2026-11-29T04:00:00Z"
    assert written["current"]["cause"]["report_digest"] == "d" * 64
    assert mover.move("one", of=moved, minute=5) == moved, "it stands there already"


def test_each_move_keeps_what_was_before(mover: Mover) -> None:
    alias = None
    for minute, word in enumerate(("one", "two", "three")):
        alias = mover.move(word, of=alias, minute=minute)
    assert alias is not None
    assert [entry.uri.rpartition("/")[2] for entry in alias.history] == ["two", "one"]
    assert [entry.number for entry in (alias.current, *alias.history)] == [3, 2, 1]


def test_history_is_bounded(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HISTORY", 3)
    alias = None
    for number in range(6):
        alias = mover.move(f"m{number}", of=alias)
    assert alias is not None
    assert [entry.number for entry in alias.history] == [5, 4, 3]


def test_rollbacks_go_back_one_by_one_and_forget_nothing(mover: Mover) -> None:
    alias = None
    for word in ("one", "two", "three"):
        alias = mover.move(word, of=alias)
    seen = []
    for _ in range(2):
        alias = mover.aliases.roll_back(NAME, reason="it was worse", now=time(9))
        seen.append(mover.standing())
        assert alias.current.cause == Cause("rollback", "it was worse")
    assert seen == ["two", "one"]
    assert alias is not None
    assert [entry.number for entry in alias.history] == [4, 3, 2, 1]
    with pytest.raises(InputError, match="stood for nothing before"):
        mover.aliases.roll_back(NAME, reason="again", now=time(9))
    alias = mover.move("four", of=alias)
    assert mover.aliases.roll_back(NAME, reason="", now=time(9)).current.uri.endswith("/one")


def test_what_is_not_whole_is_not_promoted(mover: Mover, tmp_path: Path) -> None:
    champion = mover.move("one")
    uri = mover.publish("two")
    digest = artifact_digest(uri)
    move = partial(mover.aliases.move, NAME, cause=Cause("promote", ""), now=time(1), of=champion)
    with pytest.raises(InputError, match="another artifact is there now"):
        move(uri=uri, digest="e" * 64)
    folder = tmp_path / "store" / "models" / "two"
    (folder / "weights").write_text("cut off")
    with pytest.raises(InputError, match="two/weights: is gone or not of"):
        move(uri=uri, digest=digest)
    (folder / MARKER).unlink()
    with pytest.raises(InputError, match=f"it has no {MARKER}"):
        move(uri=uri, digest=digest)
    with pytest.raises(InputError, match="no whole artifact is there"):
        move(uri=f"{mover.store.uri}/models/none", digest=digest)
    assert mover.read() == champion


def test_a_rollback_to_what_is_not_there_any_more_is_refused(mover: Mover, tmp_path: Path) -> None:
    alias = mover.move("two", of=mover.move("one"))
    mover.store.remove("models/one")
    with pytest.raises(InputError, match="no whole artifact"):
        mover.aliases.roll_back(NAME, reason="", now=time(1))
    (tmp_path / "scratch" / "one" / "more").write_text("more")
    mover.publish("one")
    with pytest.raises(InputError, match="any more, which default/vqa stood for before"):
        mover.aliases.roll_back(NAME, reason="", now=time(1))
    assert mover.read() == alias


def test_who_decided_about_another_champion_loses(mover: Mover) -> None:
    before = mover.move("one")
    mover.move("two", of=before)
    with pytest.raises(RunError, match=r"stands for .*/models/two \(move 2\); nothing was changed"):
        mover.move("three", of=before)
    with pytest.raises(RunError, match="another has moved it meanwhile"):
        mover.move("three", of=None)
    assert mover.standing() == "two"


def test_of_those_that_race_one_wins(mover: Mover) -> None:
    """All have seen the alias as it is; each round has one winner, which all others name."""
    alias = mover.move("start")
    for number in range(10):
        words = [f"r{number}-{place}" for place in range(4)]
        ends = race([partial(mover.move, word, of=alias) for word in words])
        (winner,) = (word for word, end in zip(words, ends, strict=True) if end is None)
        assert {type(end) for end in ends} == {type(None), RunError}
        assert mover.standing() == winner
        found = mover.read()
        assert found is not None
        assert found.history[0] == alias.current
        alias = found
    assert [entry.number for entry in alias.history] == list(range(10, 0, -1))


def switch_often(path: str, word: str, times: int) -> None:
    switch = Switch(path)
    made = 0
    while made < times:
        state = switch.read()
        before = [] if state is None else json.loads(state.text)
        made += switch.change(json.dumps([*before, f"{word}{made}"]), of=state)


def test_no_change_of_two_processes_is_lost(tmp_path: Path) -> None:
    """Each adds words to what it has read; all of both are there in the end."""
    path = str(tmp_path / "words.json")
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=switch_often, args=(path, word, 60)) for word in "ab"]
    for writer in writers:
        writer.start()
    seen, over = [], threading.Event()

    def look() -> None:
        while not over.is_set():
            if (state := Switch(path).read()) is not None:
                seen.append(json.loads(state.text))

    reader = threading.Thread(target=look)
    reader.start()
    for writer in writers:
        writer.join()
    over.set()
    reader.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    state = Switch(path).read()
    assert state is not None
    words = json.loads(state.text)
    assert sorted(words) == sorted(f"{word}{number}" for word in "ab" for number in range(60))
    assert all(words[: len(one)] == one for one in seen), "half a text was read"


@pytest.mark.parametrize("name", ["", "a b", "../x", "A", "a//b", ".a", "a/.b", "a/", "-a"])
def test_odd_names_are_refused(mover: Mover, name: str) -> None:
    with pytest.raises(InputError, match="is no name of an alias"):
        mover.aliases.read(name)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": {}, "history": []}', "[" * 10_000])
def test_a_damaged_alias_is_told(mover: Mover, tmp_path: Path, text: str) -> None:
    path = tmp_path / "store" / "aliases" / f"{NAME}.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DamagedError, match="is damaged"):
        mover.read()
    path.write_bytes(b"\xff")
    with pytest.raises(DamagedError, match="is no UTF-8 text"):
        mover.read()


def test_nothing_is_there_at_first(mover: Mover) -> None:
    assert mover.read() is None
    with pytest.raises(InputError, match="there is no alias 'default/vqa'"):
        mover.aliases.roll_back(NAME, reason="", now=time(0))


def test_a_store_of_this_process_has_no_aliases() -> None:
    with pytest.raises(InputError, match="use a path, file:// or s3://"):
        AliasStore("memory://x").read(NAME)

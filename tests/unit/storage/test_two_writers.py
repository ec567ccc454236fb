"""Attempts that were cut off and come back, at every call to the store."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from mmrlhf_jobs.errors import StorageError, SupersededError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results
from tests.unit.storage.writers import (
    LAYOUT,
    Gate,
    Killed,
    Writer,
    hook_files,
    look,
    work,
)


class World:
    """Folders of runs on a local file system, whose calls pass the gates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def store(self) -> ArtifactStore:
        return ArtifactStore(str(self._folder / "stores" / uuid4().hex))

    def scratch(self) -> Path:
        return self._folder / "scratch" / str(next(self._numbers))

    def start(self, store: ArtifactStore, word: str, gate: Gate, *, fresh: bool = False) -> Writer:
        scratch = self.scratch()
        writer = Writer(lambda: work(store, word, scratch, steps=2, fresh=fresh), gate)
        writer.start()
        gate.reached.wait()
        return writer


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    hook_files(monkeypatch, tmp_path / "stores")
    return World(tmp_path)


def calls(world: World, start: Callable[[ArtifactStore, Gate], Writer]) -> int:
    """Number of storage calls of an attempt that nobody disturbs."""
    gate = Gate()
    assert start(world.store(), gate).end() is None
    return gate.calls


def test_a_run_alone_leaves_its_results_and_nothing_on_the_way(world: World) -> None:
    store = world.store()
    work(store, "one", world.scratch())
    assert look(store, world.scratch()) == "one"
    assert {key.removeprefix(f"{LAYOUT.prefix}/") for key in store.sizes()} == {
        "attempts.json",
        "claim.json",
        "manifest.json",
        "metrics.jsonl",
        "model/COMMITTED",
        "model/config.json",
        "model/model.safetensors",
    }
    assert not Path(store.uri, LAYOUT.prefix, "results").exists()


@pytest.mark.parametrize("fresh", [False, True], ids=["again", "fresh"])
def test_whenever_the_first_writer_is_cut_off_one_whole_run_is_visible(
    world: World, fresh: bool
) -> None:
    """It is stopped before each of its calls in turn, and goes on when the second has ended."""
    ends: set[str] = set()
    total = calls(world, lambda store, gate: world.start(store, "one", gate))
    assert total > 50
    for stop in range(1, total + 1, 4 if fresh else 1):
        store = world.store()
        first = world.start(store, "one", Gate(stop_at=stop))
        work(store, "two", world.scratch(), steps=2, fresh=fresh)
        shown, noted = look(store, world.scratch()), store.read_text(LAYOUT.attempts)
        assert shown in ("one", "two")
        error = first.end()
        assert error is None or isinstance(error, SupersededError), (stop, error)
        ends.add(type(error).__name__)
        assert look(store, world.scratch()) == shown, f"changed by the first, stopped at {stop}"
        if error is not None:  # else it claimed the run last
            assert store.read_text(LAYOUT.attempts) == noted, f"first, stopped at {stop}"
        left = any("/results/" in key for key in store.sizes())  # decided too late
        if left or stop % 8 == 0:
            work(store, "three", world.scratch())
            assert look(store, world.scratch()) == shown, "it was complete"
    assert "SupersededError" in ends


@pytest.mark.parametrize("fresh", [False, True], ids=["goes-on", "fresh-too"])
def test_who_is_cut_off_while_it_begins_anew_takes_nothing_from_its_successor(
    world: World, fresh: bool
) -> None:
    """There is a whole run, which it is to forget."""
    whole = world.store()
    work(whole, "old", world.scratch(), steps=2)

    def store_with_a_run() -> ArtifactStore:
        store = world.store()
        shutil.copytree(whole.uri, store.uri)
        return store

    gate = Gate()
    store = store_with_a_run()
    assert world.start(store, "one", gate, fresh=True).end() is None
    assert look(store, world.scratch()) == "one"
    superseded = 0
    for stop in range(1, gate.calls + 1, 2):
        store = store_with_a_run()
        first = world.start(store, "one", Gate(stop_at=stop), fresh=True)
        work(store, "two", world.scratch(), steps=2, fresh=fresh)
        shown = look(store, world.scratch())
        assert shown in (("two", "one") if fresh else ("old", "two", "one")), stop
        error = first.end()
        assert error is None or isinstance(error, SupersededError), stop
        superseded += error is not None
        # Without an error it was the last to claim the run, and may do what it is to do.
        expected = {shown} if error is not None else {shown, "one"}
        assert look(store, world.scratch()) in expected, f"changed by the first, stopped at {stop}"
    assert superseded > gate.calls // 3


def test_what_was_there_before_a_run_was_begun_anew_does_not_count(world: World) -> None:
    store = world.store()
    gate = Gate()
    assert world.start(store, "old", gate).end() is None
    # Killed in the middle, it leaves a checkpoint; killed at the end, decided results.
    for kill in range(gate.calls // 2, gate.calls + 1, 3):
        store = world.store()
        world.start(store, "old", Gate(kill_at=kill)).end()
        # Who begins anew is killed at once: its claim is all that it has written.
        claim = Claim(store, LAYOUT.claim)
        claim.take(fresh=True)
        assert Results(store, LAYOUT.prefix, claim).finished(model=LAYOUT.model) is None
        work(store, "new", world.scratch(), steps=2)
        assert look(store, world.scratch()) == "new", kill
        assert not [key for key in store.sizes() if "/checkpoints/" in key or "/results/" in key]


def test_whenever_the_second_is_killed_the_third_makes_one_whole_run(world: World) -> None:
    """The first comes back only when the third has ended."""
    total = calls(world, lambda store, gate: world.start(store, "one", gate))
    choose = random.Random(0)
    for _ in range(25):
        stop, kill = choose.randint(1, total), choose.randint(1, total)
        store = world.store()
        first = world.start(store, "one", Gate(stop_at=stop))
        assert isinstance(world.start(store, "two", Gate(kill_at=kill)).end(), Killed | None)
        work(store, "three", world.scratch())
        shown = look(store, world.scratch())
        assert shown is not None, (stop, kill)
        assert isinstance(first.end(), SupersededError | None), (stop, kill)
        assert look(store, world.scratch()) == shown, (stop, kill)


def test_a_run_that_was_killed_anywhere_is_whole_after_the_next(world: World) -> None:
    total = calls(world, lambda store, gate: world.start(store, "one", gate))
    for kill in range(2, total + 1, 4):
        store = world.store()
        assert isinstance(world.start(store, "one", Gate(kill_at=kill)).end(), Killed | None)
        finished = Results(store, LAYOUT.prefix, Claim(store, LAYOUT.claim)).finished()
        assert finished is None or finished.missing is None, "it says what it is not"
        work(store, "two", world.scratch())
        assert look(store, world.scratch()) in ("one", "two")
        assert not [key for key in store.sizes() if "/checkpoints/" in key or "/results/" in key]


@pytest.mark.parametrize(
    ("lost", "older"),
    [
        ("model/model.safetensors", False),
        ("model/COMMITTED", False),
        ("metrics.jsonl", False),
        # Records of older versions name the model alone.
        ("model/model.safetensors", True),
        ("model/COMMITTED", True),
    ],
)
def test_a_record_of_what_is_not_there_is_not_believed(
    world: World, lost: str, older: bool
) -> None:
    store = world.store()
    work(store, "one", world.scratch())
    if older:
        store.write_text(LAYOUT.manifest, '{"word": "one"}\n')
    store.remove(f"{LAYOUT.prefix}/{lost}")
    finished = Results(store, LAYOUT.prefix, Claim(store, LAYOUT.claim)).finished(
        model=LAYOUT.model
    )
    assert finished is not None
    assert finished.missing == lost
    work(store, "two", world.scratch())
    assert look(store, world.scratch()) == "two"


def test_a_file_that_was_cut_short_is_missing(world: World) -> None:
    store = world.store()
    work(store, "one", world.scratch())
    store.write_text(f"{LAYOUT.model}/model.safetensors", "o")
    work(store, "two", world.scratch())
    assert look(store, world.scratch()) == "two"


def test_the_last_one_to_claim_holds_the_run_and_no_earlier_attempt_can(world: World) -> None:
    store = world.store()
    first, second = (Claim(store, LAYOUT.claim, attempt=number) for number in (0, 1))
    assert first.take("a").number == 1
    first.check()
    assert second.take("b").number == 2
    second.check()
    with pytest.raises(SupersededError, match=r"claim\.json: another attempt has taken this run"):
        first.check()
    with pytest.raises(
        SupersededError, match="attempt 1 of this run has started, this is attempt 0"
    ):
        first.take("c")
    second.check()
    store.remove(LAYOUT.claim)
    with pytest.raises(SupersededError, match="the claim is gone"):
        second.check()
    for text in ("{", "[]", '{"number": "many"}'):
        store.write_text(LAYOUT.claim, text)
        with pytest.raises(StorageError, match=r"claim\.json is damaged .* remove it"):
            second.check()


def test_a_guard_stops_every_change_and_no_look(world: World, tmp_path: Path) -> None:
    store = world.store()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("a")
    store.publish(folder, "x")

    def refuse() -> None:
        raise SupersededError("no")

    held = store.guarded(refuse)
    before = store.sizes()
    changes: list[Callable[[], object]] = [
        lambda: held.publish(folder, "y"),
        lambda: held.publish_content(folder, "y"),
        lambda: held.write_text("y", "text"),
        lambda: held.remove("x"),
        lambda: held.put("x/a", "x/b", 1),
        lambda: held.move_folder("x", "y"),
        lambda: held.new_file("y").__enter__(),
    ]
    for change in changes:
        with pytest.raises(SupersededError, match="no"):
            change()
    assert store.sizes() == before
    assert held.list_committed() == ["x"]
    held.fetch("x", tmp_path / "fetched")


def test_equal_contents_are_one_artifact_and_others_stand_beside(
    world: World, tmp_path: Path
) -> None:
    store = world.store()
    folder = tmp_path / "folder"
    folder.mkdir()
    keys = set()
    for text in ("a", "b", "a"):
        (folder / "file").write_text(text)
        keys.add(key := store.publish_content(folder, "cache/one"))
        assert store.read_text(f"{key}/file") == text
    assert store.list_committed("cache/one") == sorted(keys)
    assert len(keys) == 2

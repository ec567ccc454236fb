"""Retention on a disk: nothing that somebody needs goes, in any order of what they do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrlhf_api.contents import find_run
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.errors import DamagedError, InputError, RunError
from mmrlhf_jobs.retention.pruning import Pruned
from mmrlhf_jobs.storage import marks as module
from mmrlhf_jobs.storage.alias import AliasStore
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marks import Marks, MarkState, renew
from tests.unit.retention.races import race_with_a_job, race_with_an_alias
from tests.unit.retention.world import NOW, World
from tests.unit.storage.writers import Gate, Killed, Writer, hook_files


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(ArtifactStore(str(tmp_path / "store")), tmp_path / "scratch")


def fates(pruned: Pruned) -> dict[str, str]:
    return {one.key: one.fate.value for one in pruned.items}


def test_a_dry_run_says_what_would_go_and_changes_nothing(world: World, tmp_path: Path) -> None:
    for uid in ("old", "new"):
        world.run(f"vision/align/{uid}", days=30 if uid == "old" else 20)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    pruned = world.prune(delete=False)
    assert fates(pruned) == {"vision/align/new": "stays", "vision/align/old": "to be marked"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_is_marked_first_and_goes_when_it_was_for_long_enough(world: World) -> None:
    for uid in ("old", "new"):
        world.run(f"vision/align/{uid}", days=30 if uid == "old" else 20)
    assert world.prune().marked == ("vision/align/old",)
    assert fates(world.prune(at=0.5))["vision/align/old"] == "marked"
    assert world.whole() == {"vision/align/old", "vision/align/new"}
    gone = world.prune(at=1)
    assert gone.removed == ("vision/align/old",)
    assert gone.figures()["removedBytes"] == sum(
        one.bytes for one in gone.items if one.key == "vision/align/old"
    )
    assert world.whole() == {"vision/align/new"}
    left = [path.name for path in Path(world.uri, "vision/align/old").rglob("*")]
    assert [name for name in left if not name.startswith(".")] == ["pruning.json"]
    assert world.prune(at=2).items[0].key == "vision/align/new", "what is gone is told no more"
    world.prune(at=95)
    assert world.store.sizes("vision/align/old") == {}


def test_without_a_wait_both_are_one(world: World) -> None:
    for uid in ("old", "new"):
        world.run(f"vision/align/{uid}", days=30 if uid == "old" else 20)
    assert world.prune(wait_days=0).removed == ("vision/align/old",)


def test_champion_rollbacks_and_all_they_were_made_from_stay(world: World) -> None:
    data = world.run("vision/rank/u0", days=60)
    judge = world.run("vision/judge/u0", days=50, reads=(f"{data}/model",))
    first = world.run("vision/align/u1", days=45, reads=(f"{judge}/model",))
    second = world.run("vision/align/u2", days=40)
    for name in ("rank", "judge", "align"):
        world.run(f"vision/{name}/u9", days=20)
    world.promote(first)
    world.promote(second)
    assert fates(world.prune(at=20))["vision/align/u1"] == "stays"
    world.prune(at=30)
    assert len(world.whole()) == 7
    AliasStore(world.uri).roll_back("default/vqa", reason="worse", now=NOW)
    # What a rollback took back is no target any more; what holds now is kept with its ancestors.
    world.prune(at=40)
    world.prune(at=50)
    assert world.whole() == {
        *(f"vision/{name}/u9" for name in ("rank", "judge", "align")),
        *("vision/rank/u0", "vision/judge/u0", "vision/align/u1"),
    }


def test_a_run_whose_record_is_damaged_stays_and_is_told(world: World) -> None:
    for uid, days in (("a", 40), ("b", 30), ("c", 20)):
        world.run(f"vision/align/{uid}", days=days)
    world.store.write_text("vision/align/a/manifest.json", "{")
    (item,) = (one for one in world.prune().items if one.key == "vision/align/a")
    assert (item.fate.value, item.why) == ("stays", "manifest.json is damaged")
    world.store.write_text("vision/align/b/manifest.json", '{"job": {"metadata": {"name": "x"}}}')
    (item,) = (one for one in world.prune(at=3).items if one.key == "vision/align/b")
    assert item.why == "manifest.json is of another job"


def test_a_damaged_alias_or_mark_stops_all_of_it(world: World) -> None:
    for uid, days in (("old", 40), ("new", 20)):
        world.run(f"vision/align/{uid}", days=days)
    world.store.write_text("aliases/default/vqa.json", "{")
    with pytest.raises(DamagedError, match=r"vqa\.json is damaged"):
        world.prune()
    world.store.remove("aliases")
    world.store.write_text("vision/align/old/pruning.json", "{}")
    with pytest.raises(DamagedError, match=r"pruning\.json is damaged"):
        world.prune()
    assert len(world.whole()) == 2


def test_another_store_counts_if_it_is_named(world: World, tmp_path: Path) -> None:
    old = world.run("vision/align/old", days=40)
    world.run("vision/align/new", days=20)
    other = World(ArtifactStore(str(tmp_path / "other")), tmp_path)
    other.run("team/made/u1", reads=(f"{old}/model",))
    assert fates(world.prune(delete=False))["vision/align/old"] == "to be marked"
    pruned = world.prune(delete=False, also=(other.uri,))
    (item,) = (one for one in pruned.items if one.key == "vision/align/old")
    assert item.why == f"{other.uri}/team/made/u1 was made from it"


def test_nothing_but_runs_and_caches_is_ever_looked_at(world: World) -> None:
    """Data of users, aliases, vectors, and folders that only look like runs."""
    world.run("vision/align/new", days=20)
    others = [
        *("data/train/images/1.png", "notes.txt", "vision/align/readme.txt"),
        *("embeddings/clip/a/part", "a/b/c/d/e", "a/b.json"),
    ]
    for key in others:
        world.store.write_text(key, "x")
    world.store.write_text("cache/reward/k/COMMITTED", "x")
    world.store.write_text("cache/proof/k.json", "x")
    pruned = world.prune(at=100000, cache_days=0)
    assert set(pruned.removed) == {"cache/reward/k", "cache/proof/k.json"}
    assert all(world.store.read_text(key) == "x" for key in others)


def test_a_job_takes_the_mark_away_and_one_that_comes_too_late_is_told(world: World) -> None:
    run = world.run("vision/align/old", days=40)
    world.run("vision/align/new", days=20)
    world.prune()
    world.read(run)
    mark = Marks(world.uri).read("vision/align/old")
    assert mark is not None
    assert (mark.state, mark.by) == (MarkState.KEPT, "StepJob vision/reader")
    (item,) = (one for one in world.prune(at=2).items if one.key == "vision/align/old")
    assert item.why == "needed on 2026-11-29 by StepJob vision/reader"
    world.store.remove("vision/reader")
    world.prune(at=20)
    world.prune(at=22)
    with pytest.raises(InputError, match=r"was removed on 2026-12-21.*run what made it again"):
        world.read(run)
    world.store.remove("vision/reader")
    with pytest.raises(InputError, match="no whole artifact"):
        world.promote(run)


def test_a_run_is_made_anew_where_one_is_gone(world: World) -> None:
    run = world.run("vision/align/old", days=40)
    world.run("vision/align/new", days=20)
    world.prune(wait_days=0)
    renew(run, by="me", now=NOW)
    world.run("vision/align/old", days=40)
    assert fates(world.prune(at=1))["vision/align/old"] == "stays"
    marks = Marks(world.uri)
    found = marks.read("vision/align/old")
    assert marks.change("vision/align/old", MarkState.DELETING, of=found, by="x", now=NOW)
    with pytest.raises(InputError, match="is being removed since 2026-11-29T04:00:00Z"):
        renew(run, by="me", now=NOW)


def test_wherever_a_removal_is_cut_off_the_next_one_ends_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no call is there half a run that readers take for a whole one."""
    hook_files(monkeypatch, tmp_path / "store")
    key = "vision/align/old"
    for kill in range(1, 1000):
        world.run(key, days=40)
        world.run("vision/align/new", days=20)
        world.prune()
        writer = Writer(lambda: world.prune(at=2), Gate(kill_at=kill))
        writer.start()
        if not isinstance(writer.end(), Killed):
            break
        found = find_run(world.store._root.fs, f"{world.uri}/{key}")
        if found is not None:
            assert key in world.whole(), "a record without what it names"
        world.prune(at=3)
        files = [one for one in world.store.sizes(key) if "/." not in one]
        assert files == [f"{key}/pruning.json"], (kill, files)
        world.store.remove("vision")
    assert kill > 10


@pytest.mark.parametrize("race", [race_with_a_job, race_with_an_alias])
def test_in_no_order_does_a_run_go_that_somebody_came_to_need(
    race: Callable[[World, int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_files(monkeypatch, tmp_path / "stores")
    ends: Counter[str] = Counter()
    for seed in range(32):
        store = ArtifactStore(str(tmp_path / "stores" / str(seed)))
        ends[race(World(store, tmp_path / f"scratch-{seed}"), seed)] += 1
    assert len(ends) > 1, ends


def test_the_command_prints_what_goes_and_why(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for uid, days in (("old", 4000), ("new", 3000)):
        world.run(f"vision/align/{uid}", days=days)
    out = tmp_path / "prune.json"
    assert main(["prune", world.uri, "--last", "1", "--json", str(out)]) == 0
    told = capsys.readouterr()
    assert "to be marked" in told.out
    assert "nothing was changed: 0 would go (0 B), 1 would be marked" in told.err
    assert main(["prune", world.uri, "--last", "1", "--yes", "--wait-days", "0"]) == 0
    assert "1 are gone" in capsys.readouterr().err
    report = json.loads(out.read_text())
    assert [one["fate"] for one in report["items"]] == ["stays", "to be marked"]
    assert world.whole() == {"vision/align/new"}
    assert main(["prune", world.uri, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["stays"] == 1


def test_a_mark_that_all_change_all_the_time_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.run("vision/align/old", days=40)
    world.run("vision/align/new", days=20)
    world.prune()
    monkeypatch.setattr(module, "_change", lambda *_, **__: None)
    with pytest.raises(RunError, match="others change it all the time"):
        world.read(run)

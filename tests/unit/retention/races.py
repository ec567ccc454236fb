"""One who removes and those who come to need a run, in any order of their calls."""

from __future__ import annotations

from mmrlhf_jobs.errors import InputError, JobError
from mmrlhf_jobs.storage.alias import AliasStore, artifact_digest
from tests.unit.retention.world import World, in_turns

__all__ = ["race_with_a_job", "race_with_an_alias"]

KEY = "vision/align/old"
ORIGIN = "vision/rank/old"


def _ready(world: World) -> str:
    """A run that nothing needs, and what it was made from; both may go."""
    origin = world.run(ORIGIN, days=40)
    run = world.run(KEY, days=35, reads=(f"{origin}/model",))
    for name in ("rank", "align"):
        world.run(f"vision/{name}/new", days=20)
    return run


def _remove(world: World, seed: int) -> None:
    """Mark, and remove two days later; with every other seed at once."""
    if seed % 2:
        world.prune(wait_days=0)
    else:
        world.prune()
        world.prune(at=2)


def race_with_a_job(world: World, seed: int) -> str:
    """A job begins to read the run while it is marked and removed; say how it ended."""
    run = _ready(world)
    removed, read = in_turns([lambda: _remove(world, seed), lambda: world.read(run)], seed=seed)
    assert removed is None, removed
    if read is None:
        _is_whole(world, "a job has read it")
        world.prune(at=30)
        world.prune(at=60)
        _is_whole(world, "the record of the job names it")
        return "read"
    return _refused(world, read)


def race_with_an_alias(world: World, seed: int) -> str:
    """The same with somebody who lets an alias stand for it."""
    run = _ready(world)
    removed, moved = in_turns([lambda: _remove(world, seed), lambda: world.promote(run)], seed=seed)
    assert removed is None, removed
    alias = AliasStore(world.uri, world.options).read("default/vqa")
    if moved is None:
        assert alias is not None
        assert artifact_digest(alias.current.uri, world.options) == alias.current.digest
        world.prune(at=30)
        world.prune(at=60)
        _is_whole(world, "an alias stands for it")
        return "moved"
    assert alias is None, "it stands for nothing that is gone"
    return _refused(world, moved)


def _is_whole(world: World, why: str) -> None:
    keys = world.whole()
    assert {KEY, ORIGIN} <= keys, (why, keys)
    for key in (KEY, ORIGIN):
        assert world.store.read_text(f"{key}/manifest.json") is not None, why


def _refused(world: World, error: JobError) -> str:
    assert isinstance(error, JobError)
    told = str(error)
    words = ("is being removed since", "was removed on", "no whole artifact is there")
    gone = ("no complete artifact", "does not exist", "is gone or not of")
    assert any(word in told for word in (*words, *gone)), told
    assert world.store.read_text(f"{KEY}/manifest.json") is None
    assert KEY not in world.whole()
    return "refused" if isinstance(error, InputError) else "late"

"""What looks into a store find for a schedule, and how much of it they read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from mmrlhf_operator.acting.object_store import Store, StoredObject, digest_of
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.acting.sights import Counted, Sights, count_rankings
from mmrlhf_operator.planning.schedules import Sight
from mmrlhf_operator.state.store import Key
from tests.operator.schedule_driver import ScriptedStore
from tests.unit.pipelines.specimens import pipeline

KEY = Key("AlignmentPipeline", "default", "weekly")
URI = "s3://b/rankings"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def counted(store: ScriptedStore, known: dict[StoredObject, Counted] | None = None) -> int | None:
    found = store.objects(URI)
    return count_rankings(cast("Store", store), URI, found, {} if known is None else known)


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"", 0), (b"{}\n", 1), (b"{}\n{}", 2), (b"x" * 63 + b"\n", 1), (b"x" * 64 + b"\n", 1)],
)
def test_a_file_of_lines_holds_a_ranking_a_line(content: bytes, lines: int) -> None:
    store = ScriptedStore({f"{URI}/a.jsonl": content})
    assert counted(store) == lines


def test_other_objects_are_one_each_and_marks_of_folders_none() -> None:
    store = ScriptedStore({f"{URI}/17": b"{}", f"{URI}/18": b"{}\n{}\n", f"{URI}/": b""})
    assert counted(store) == 2
    store.put(f"{URI}/more.jsonl", b"{}\n{}\n")
    assert counted(store) == 4
    named = ScriptedStore({f"{URI}.jsonl": b"{}\n{}\n{}\n"})
    uri = f"{URI}.jsonl"
    assert count_rankings(cast("Store", named), uri, named.objects(uri), {}) == 3


def test_a_file_is_read_once_and_a_large_one_over_several_looks() -> None:
    reads: list[tuple[str, int]] = []

    class Noted(ScriptedStore):
        def read(self, uri: str, start: int) -> bytes:
            reads.append((uri, start))
            return super().read(uri, start)

    store = Noted({f"{URI}/a.jsonl": b"123456\n" * 1000})  # 7000 bytes: 110 pieces of 64
    known: dict[StoredObject, Counted] = {}
    assert counted(store, known) is None
    assert len(reads) == 64
    assert counted(store, known) == 1000
    assert len(reads) == 110
    assert len(set(reads)) == 110
    assert counted(store, known) == 1000
    assert len(reads) == 110, "nothing is read again"
    store.put(f"{URI}/a.jsonl", b"1\n")
    assert counted(store, known) == 1
    assert len(known) == 1, "what is gone is forgotten"


def test_a_digest_is_that_of_names_sizes_and_etags_in_any_order() -> None:
    one, other = StoredObject("/a", 1, "x"), StoredObject("/b", 2, "y")
    assert digest_of([one, other]) == digest_of([other, one])
    changes = (("/c", 1, "x"), ("/a", 2, "x"), ("/a", 1, "z"))
    assert len({digest_of([StoredObject(*change), other]) for change in changes}) == 3
    # Names may hold what lists are written with.
    assert digest_of([StoredObject('/a", 1', 1, "x")]) != digest_of([one])


async def look(store: ScriptedStore | None, **schedule: Any) -> Sight:
    """The sight of a look for a pipeline with a schedule."""
    woken: list[Key] = []
    sights = Sights(store, wake=woken.append, clock=lambda: NOW)
    assert sights.latest("u") is None
    sights.begin(KEY, "u", pipeline(schedule=schedule), 7)
    sights.begin(KEY, "u", pipeline(schedule=schedule), 7)
    for _ in range(100):
        await asyncio.sleep(0)
    found = sights.latest("u")
    assert woken == [KEY], "one at a time"
    await sights.close()
    assert found is not None
    assert (found.at, found.generation) == (NOW, 7)
    return found


BOTH = {"newData": {"uri": "s3://b/new"}, "newRankings": {"uri": URI, "atLeast": 2}}


async def test_a_look_finds_what_the_schedule_asks_for_and_nothing_else() -> None:
    store = ScriptedStore({"s3://b/new/1": b"x", f"{URI}/a.jsonl": b"{}\n{}\n"})
    seen = await look(store, triggers=BOTH)
    assert store.looks == 1
    assert seen.inputs is None
    assert seen.new_data is not None
    assert seen.new_data.count == 1
    assert seen.new_rankings is not None
    assert seen.new_rankings.count == 2
    assert seen.problem is None


async def test_the_digest_of_data_and_steps_changes_with_both_and_with_nothing_else() -> None:
    files = {
        "s3://data/2026-48/train/a.jsonl": b"1",
        "s3://data/bench.jsonl": b"2",
        "s3://models/base/config.json": b"3",
    }

    async def digest(store: ScriptedStore, **changes: Any) -> str | None:
        sights = Sights(store, wake=lambda _: None, clock=lambda: NOW)
        given = {"cron": "0 3 * * *", "skipUnchanged": True}
        sights.begin(KEY, "u", pipeline(schedule=given, **changes), 1)
        for _ in range(100):
            await asyncio.sleep(0)
        found = sights.latest("u")
        assert found is not None
        return found.inputs

    same = await digest(ScriptedStore(files))
    assert same is not None
    beside = {"s3://data/2026-47/train/a.jsonl": b"1", "s3://data/bench.jsonl.bak": b"4"}
    assert await digest(ScriptedStore({**files, **beside})) == same
    others = [
        await digest(ScriptedStore({**files, "s3://data/2026-48/train/b.jsonl": b"5"})),
        await digest(ScriptedStore({**files, "s3://models/base/config.json": b"6"})),
        await digest(ScriptedStore({k: v for k, v in files.items() if "bench" not in k})),
        await digest(ScriptedStore(files), steps={"align": None}),
        await digest(
            ScriptedStore({**files, "s3://data/2026-49/train/a.jsonl": b"1"}),
            parameters=[{"name": "epochs", "default": 1}, {"name": "week", "default": "2026-49"}],
        ),
    ]
    assert len({same, *others}) == 6


async def test_an_alias_that_the_pipeline_itself_moves_is_no_data_and_others_are() -> None:
    gate = {
        "kind": "StepJob",
        "spec": {
            "step": "gate",
            "gate": {
                "require": {"safety": {"maxAsr": 0.1}},
                "alias": "default/vqa",
                "artifact": "${steps.align.model}",
            },
        },
    }
    files = {
        "s3://runs/aliases/default/vqa.json": b"1",
        "s3://runs/aliases/other.json": b"2",
    }

    async def digest(policy: str, **moved: bytes) -> str | None:
        asks = {"records": "s3://data/bench.jsonl", "policy": f"s3://runs/aliases/{policy}.json"}
        champion = {"kind": "StepJob", "spec": {"step": "preferences", "preferences": asks}}
        store = ScriptedStore(
            {**files, **{f"s3://runs/aliases/{k}.json": v for k, v in moved.items()}}
        )
        sights = Sights(store, wake=lambda _: None, clock=lambda: NOW)
        given = {"cron": "0 3 * * *", "skipUnchanged": True}
        sights.begin(
            KEY, "u", pipeline(schedule=given, steps={"gate": gate, "champion": champion}), 1
        )
        for _ in range(100):
            await asyncio.sleep(0)
        found = sights.latest("u")
        assert found is not None
        return found.inputs

    own = {"default/vqa": b"3"}
    assert await digest("default/vqa", **own) == await digest("default/vqa") is not None
    assert await digest("other", other=b"3") != await digest("other")


async def test_what_cannot_be_seen_is_said() -> None:
    denied = ScriptedStore(problem=LookUpError(Outcome.DENIED))
    assert (await look(denied, triggers=BOTH)).problem == "access denied"
    assert "preflight.enabled" in str((await look(None, triggers=BOTH)).problem)

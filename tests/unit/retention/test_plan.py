"""What stays and what goes, as a function of what was found."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mmrlhf_api.steps.prune import PruneSettings
from mmrlhf_jobs.retention.plan import (
    Fate,
    Found,
    FoundCache,
    FoundRun,
    Item,
    Need,
    goes_in_order,
    plan,
)
from mmrlhf_jobs.storage.marks import Mark, MarkState
from tests.unit.retention.world import NOW

ROOT = "s3://runs/artifacts"


def run(key: str, *, days: float | None = 30, reads: tuple[str, ...] = (), **more: Any) -> FoundRun:
    namespace, name, _ = key.split("/")
    ended = None if days is None else NOW - timedelta(days=days)
    touched = NOW - timedelta(days=30 if days is None else days)
    given: dict[str, Any] = {"series": (namespace, name), "pipeline": None, **more}
    return FoundRun(
        key=key, title=name, ended=ended, touched=touched, bytes=1, files=1, reads=reads, **given
    )


def mark(state: MarkState, *, days: float, by: str = "retention") -> Mark:
    return Mark(state, NOW - timedelta(days=days), by, "t")


def fates(
    *runs: FoundRun, needs: tuple[Need, ...] = (), now: datetime = NOW, **policy: Any
) -> dict[str, tuple[Fate, str]]:
    settings = PruneSettings(**{"last": 1, **policy})
    items = plan(Found(ROOT, runs, needs=needs), settings, now)
    return {one.key: (one.fate, one.why) for one in items}


def test_the_latest_of_each_series_stay() -> None:
    found = fates(*(run(f"v/a/{n}", days=10 + n) for n in range(4)), run("v/b/0"), last=2)
    assert found["v/a/0"] == (Fate.STAYS, "1st latest of v a")
    assert found["v/a/1"] == (Fate.STAYS, "2nd latest of v a")
    assert found["v/a/2"] == (Fate.MARK, "nothing needs it")
    assert found["v/b/0"][0] is Fate.STAYS


def test_what_an_alias_stands_for_stays_with_all_that_it_was_made_from() -> None:
    runs = [
        run("v/a/new"),
        run("v/a/champion", reads=(f"{ROOT}/v/judge/old/model",), days=40),
        run("v/judge/new"),
        run("v/judge/old", reads=(f"{ROOT}/v/import/old/records.jsonl",), days=41),
        run("v/judge/older", days=42),
        run("v/import/new"),
        run("v/import/old", days=43),
    ]
    need = Need(f"{ROOT}/v/a/champion/model", "alias default/vqa stands for it")
    found = fates(*runs, needs=(need,))
    assert found["v/a/champion"] == (Fate.STAYS, "alias default/vqa stands for it")
    assert found["v/judge/old"] == (Fate.STAYS, "v/a/champion was made from it")
    assert found["v/import/old"] == (Fate.STAYS, "v/judge/old was made from it")
    assert {key for key, (fate, _) in found.items() if fate is Fate.MARK} == {"v/judge/older"}


def test_rollbacks_stay_all_or_as_many_as_was_said() -> None:
    runs = [run("v/a/new"), *(run(f"v/a/{n}", days=40 + n) for n in range(3))]
    needs = tuple(Need(f"{ROOT}/v/a/{n}/model", "alias", rank=n) for n in range(3))
    assert {fate for fate, _ in fates(*runs, needs=needs).values()} == {Fate.STAYS}
    found = fates(*runs, needs=needs, rollbacks=1)
    assert [found[f"v/a/{n}"][0] for n in range(3)] == [Fate.STAYS, Fate.STAYS, Fate.MARK]


@pytest.mark.parametrize(
    "spelled",
    [
        "s3a://runs/artifacts/v/a/old/model",
        "s3://mirror/copy/v/a/old",
        "/mnt/store/v/a/old/",
        "file:///mnt/store/v/a/old/model",
        f"{ROOT}/v/a",
        f"{ROOT}/v",
        f"{ROOT}/v/a/*/records.jsonl",
        f"{ROOT}/v/*/old",
        f"{ROOT}/**/model",
        f"{ROOT}/v/a/ol[c-e]/x",
    ],
)
def test_a_run_is_known_however_its_place_is_spelled(spelled: str) -> None:
    runs = (run("v/a/new"), run("v/a/old", days=40), run("v/b/live", days=None, reads=(spelled,)))
    assert fates(*runs)["v/a/old"] == (Fate.STAYS, "v/b/live was made from it")


@pytest.mark.parametrize("spelled", [ROOT, "s3://runs", f"{ROOT}/w/*/old", f"{ROOT}/v/a/olden"])
def test_what_names_something_else_keeps_nothing(spelled: str) -> None:
    runs = (run("v/a/new"), run("v/a/old", days=40), run("v/b/live", days=None, reads=(spelled,)))
    assert fates(*runs)["v/a/old"][0] is Fate.MARK


def test_runs_that_have_not_ended_stay_unless_that_is_said() -> None:
    runs = (run("v/a/new"), run("v/a/cut", days=None))
    assert fates(*runs)["v/a/cut"] == (
        Fate.STAYS,
        "has not ended; written last on 2026-10-30",
    )
    assert fates(*runs, unfinished_days=31)["v/a/cut"][0] is Fate.STAYS
    assert fates(*runs, unfinished_days=30)["v/a/cut"][0] is Fate.MARK
    damaged = run("v/a/odd", days=None, flaw="manifest.json is damaged")
    assert fates(damaged, unfinished_days=1)["v/a/odd"] == (Fate.STAYS, "manifest.json is damaged")


def test_what_has_just_ended_stays() -> None:
    found = fates(run("v/a/new", days=1), run("v/a/2", days=6.9), run("v/a/3", days=7.0))
    assert [found[f"v/a/{n}"][0] for n in ("2", "3")] == [Fate.STAYS, Fate.MARK]
    assert fates(run("v/a/new"), run("v/a/2", days=31), recent_days=32)["v/a/2"][0] is Fate.STAYS


def test_only_runs_of_the_pipeline_or_namespace_go_that_was_named() -> None:
    runs = (
        run("v/a/new"),
        run("v/a/old", days=40, pipeline="weekly"),
        run("v/b/new"),
        run("v/b/old", days=40, reads=(f"{ROOT}/v/a/older",)),
        run("v/a/older", days=50, pipeline="weekly"),
        run("w/a/new", pipeline="weekly"),
        run("w/a/old", days=40, pipeline="weekly"),
    )
    found = fates(*runs, pipeline="weekly", namespace="v")
    marked = {key for key, (fate, _) in found.items() if fate is Fate.MARK}
    assert marked == {"v/a/old"}, "what others were made from stays"
    assert found["v/b/old"][1] == "not of pipeline weekly"
    assert found["w/a/old"][1] == "not of namespace v"


@pytest.mark.parametrize(
    ("state", "days", "fate"),
    [
        (MarkState.MARKED, 0.9, Fate.WAITS),
        (MarkState.MARKED, 1.0, Fate.GOES),
        (MarkState.KEPT, 6.9, Fate.STAYS),
        (MarkState.KEPT, 7.0, Fate.MARK),
        (MarkState.DELETING, 0.01, Fate.WAITS),
        (MarkState.DELETING, 0.05, Fate.GOES),
    ],
)
def test_a_run_goes_by_its_mark(state: MarkState, days: float, fate: Fate) -> None:
    old = run("v/a/old", days=40, mark=mark(state, days=days))
    assert fates(run("v/a/new"), old)["v/a/old"][0] is fate


def test_what_is_needed_again_stays_though_it_is_marked() -> None:
    old = run("v/a/old", days=40, mark=mark(MarkState.MARKED, days=3))
    live = run("v/b/live", days=None, reads=(f"{ROOT}/v/a/old/model",))
    assert fates(run("v/a/new"), old, live)["v/a/old"][0] is Fate.STAYS


def test_one_that_is_being_removed_is_no_latest_and_keeps_nothing() -> None:
    leaving = run("v/a/new", reads=(f"{ROOT}/v/b/old",), mark=mark(MarkState.DELETING, days=0.01))
    found = fates(leaving, run("v/a/old", days=40), run("v/b/new"), run("v/b/old", days=40))
    assert found["v/a/old"] == (Fate.STAYS, "1st latest of v a")
    assert found["v/b/old"][0] is Fate.MARK


def test_it_is_remembered_for_a_while_that_a_run_was_removed() -> None:
    def gone(days: float) -> FoundRun:
        return run("v/a/old", days=None, mark=mark(MarkState.GONE, days=days))

    assert fates(gone(89)) == {}
    assert fates(gone(90))["v/a/old"][0] is Fate.GOES


def test_cached_values_go_by_their_age() -> None:
    caches = tuple(
        FoundCache(f"cache/reward/{days}", NOW - timedelta(days=days), 1, 1) for days in (29, 30)
    )
    items = plan(Found(ROOT, (), caches), PruneSettings(), NOW)
    assert [one.fate for one in items] == [Fate.STAYS, Fate.GOES]


def _drawn(draw: random.Random) -> Found:
    """A store of a dozen runs in three series, with any lineage, marks and needs."""
    runs: list[FoundRun] = []
    for number in range(12):
        named = draw.sample(range(12), draw.randrange(3))
        reads = tuple(f"{ROOT}/v/{one % 3}/{one}/model" for one in named)
        days = draw.choice([None, *(draw.uniform(0, 50) for _ in range(4))])
        state = draw.choice([None, None, *MarkState])
        known = None if state is None else mark(state, days=draw.uniform(0, 9))
        runs.append(run(f"v/{number % 3}/{number}", days=days, reads=reads, mark=known))
    needs = tuple(
        Need(f"{ROOT}/v/{one % 3}/{one}", "alias", rank)
        for rank, one in enumerate(draw.sample(range(12), 2))
    )
    return Found(ROOT, tuple(runs), needs=needs)


def _named(one: FoundRun) -> set[str]:
    return {"/".join(uri.split("/")[-4:-1]) for uri in one.reads}


def test_nothing_goes_that_something_needs_in_any_store() -> None:
    """2,000 drawn stores, held against the rules one by one."""
    draw, went = random.Random(7), 0
    for _ in range(2000):
        found, policy = _drawn(draw), PruneSettings(last=draw.randrange(1, 3))
        runs = {one.key: one for one in found.runs}
        items = {one.key: one for one in plan(found, policy, NOW)}
        free = {key for key, one in items.items() if one.fate is not Fate.STAYS}
        left = [one for key, one in runs.items() if not one.is_gone and key not in free]
        leaving = {
            k for k, one in runs.items() if one.mark and one.mark.state is MarkState.DELETING
        }
        gone = {key for key, one in runs.items() if one.is_gone}
        for one in left:
            assert not _named(one) & (free - leaving - gone), "what stays was made from it"
        for need in found.needs:
            key = "/".join(need.uri.split("/")[-3:])
            assert key in leaving | gone or key not in free
        for key in free - leaving - gone:
            one = runs[key]
            assert one.ended is not None, "it has not ended"
            assert NOW - one.ended >= timedelta(days=policy.recent_days)
            later = [
                other
                for other in found.runs
                if other.series == one.series
                and other.key not in leaving | gone
                and other.ended is not None
                and other.ended > one.ended
            ]
            assert len(later) >= policy.last
        order = [one.key for one in goes_in_order(found, items.values())]
        goes = {key for key, one in items.items() if one.fate is Fate.GOES}
        assert set(order) == goes
        assert len(order) == len(goes)
        went += len(goes - leaving)
    assert went > 300, "the draws say something"


def test_a_run_goes_before_what_it_was_made_from() -> None:
    chain = [
        run(f"v/{number}/old", days=40, reads=(f"{ROOT}/v/{number + 1}/old",))
        for number in (2, 0, 1)
    ]
    items = [
        Item("run", one.key, "", Fate.GOES, "", 1, 1) for one in (*chain, run("v/3/old", days=40))
    ]
    found = Found(ROOT, (*chain, run("v/3/old", days=40)))
    assert [one.key for one in goes_in_order(found, items)] == [f"v/{n}/old" for n in range(4)]
    circle = replace(chain[0], reads=(f"{ROOT}/v/0/old",))
    names = [one.key for one in goes_in_order(Found(ROOT, (circle, *chain[1:])), items[:3])]
    assert sorted(names) == ["v/0/old", "v/1/old", "v/2/old"]

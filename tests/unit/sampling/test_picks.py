"""Picks against a plain sort in Python, and what makes them the same everywhere."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.identity import record_id
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.sampling.selection.picks import (
    cap_media,
    count,
    drop_duplicates,
    pick,
    pick_key,
    rank_hash,
)
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES, plan_quotas
from mmrlhf_jobs.sampling.selection.table import Candidates

CLUSTERS = 3
ROW = st.tuples(st.integers(0, 5), st.integers(0, 8), st.sampled_from([0, 1, 2]))


def candidates(rows: list[tuple[int, int, int]], *, seed: int = 0) -> Candidates:
    """Rows of (medium, question, category); the cluster follows from the medium."""
    ids = [record_id(f"q{question}", [f"m{medium}"]) for medium, question, _ in rows]
    return Candidates(
        media=np.array([f"m{medium}".ljust(32, "x").encode() for medium, _, _ in rows], "S32"),
        record_id=np.array([each.encode() for each in ids], "S32"),
        category=np.array([category for _, _, category in rows], np.int8),
        key=np.array([pick_key(rank_hash(each, seed)) for each in ids], np.float64),
        tie=np.array([category for _, _, category in rows], np.uint64),
        block=np.arange(len(rows), dtype=np.int32) % 3,
        row=np.arange(len(rows), dtype=np.int32),
        cluster=np.array([medium % CLUSTERS for medium, _, _ in rows], np.int32),
        distance=np.zeros(len(rows), np.float32),
    )


def plainly(rows: Candidates, quotas: dict[Category, tuple[int, ...]]) -> list[bytes]:
    kept: list[bytes] = []
    for number, name in enumerate(CATEGORIES):
        for cluster in range(CLUSTERS):
            mine = sorted(
                (float(rows.key[i]), bytes(rows.record_id[i]))
                for i in range(len(rows))
                if rows.category[i] == number and rows.cluster[i] == cluster
            )
            kept += [each for _, each in mine[: quotas.get(name, (0,) * CLUSTERS)[cluster]]]
    return sorted(kept)


@given(st.lists(ROW, max_size=40, unique_by=lambda row: row[:2]), st.integers(0, 30))
def test_picks_are_the_lowest_keys(rows: list[tuple[int, int, int]], target: int) -> None:
    table = candidates(rows)
    shares: dict[Category, float] = {"long": 4, "short": 5, "mcq": 1}
    available = count(table, CLUSTERS)
    quotas = plan_quotas(available, target=target, shares=shares, shortfall="accept").by_cluster
    picked = pick(table, dict(quotas))
    assert [bytes(each) for each in picked.record_id] == plainly(table, dict(quotas))
    assert {n: sum(c) for n, c in count(picked, CLUSTERS).items() if n in shares} == {
        n: sum(c) for n, c in quotas.items()
    }


@given(
    st.lists(ROW, max_size=40, unique_by=lambda row: row[:2]),
    st.integers(1, 25),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_picks_do_not_depend_on_order_or_parts_and_are_nested(
    rows: list[tuple[int, int, int]], target: int, more: int, rng: random.Random
) -> None:
    def picked(given_: list[Candidates], wanted: int) -> list[bytes]:
        whole = Candidates.join(given_)
        shares: dict[Category, float] = {"long": 4, "short": 5, "mcq": 1}
        quotas = plan_quotas(
            count(whole, CLUSTERS), target=wanted, shares=shares, shortfall="accept"
        )
        parts = [pick(part, quotas.by_cluster) for part in given_]
        return [bytes(each) for each in pick(Candidates.join(parts), quotas.by_cluster).record_id]

    table = candidates(rows)
    shuffled = rng.sample(rows, len(rows))
    cut = rng.randint(0, len(rows))
    first = picked([table], target)
    assert picked([candidates(shuffled[:cut]), candidates(shuffled[cut:])], target) == first
    assert set(first) <= set(picked([table], target + more))


@given(st.lists(ROW, max_size=40), st.randoms(use_true_random=False))
def test_of_equal_ids_the_lowest_tie_stands_for_all(
    rows: list[tuple[int, int, int]], rng: random.Random
) -> None:
    def kept(given_: list[tuple[int, int, int]]) -> dict[bytes, int]:
        table = drop_duplicates(candidates(given_))
        assert len({bytes(each) for each in table.record_id}) == len(table)
        return {bytes(each): int(tie) for each, tie in zip(table.record_id, table.tie, strict=True)}

    lowest: dict[bytes, int] = {}
    for medium, question, category in rows:
        name = record_id(f"q{question}", [f"m{medium}"]).encode()
        lowest[name] = min(category, lowest.get(name, 9))
    assert kept(rows) == lowest == kept(rng.sample(rows, len(rows)))


@given(st.lists(ROW, max_size=40, unique_by=lambda row: row[:2]), st.integers(1, 4))
def test_no_medium_has_more_than_its_cap(rows: list[tuple[int, int, int]], most: int) -> None:
    table = candidates(rows)
    capped = cap_media(table, most)
    before, after = Counter(table.media.tolist()), Counter(capped.media.tolist())
    assert after == {medium: min(most, number) for medium, number in before.items()}
    for medium in before:
        keys = sorted(table.key[table.media == medium])
        assert sorted(capped.key[capped.media == medium]) == keys[:most]
    assert cap_media(table, None) is table


def test_keys_are_exponential_with_the_weight_as_rate() -> None:
    ids = [f"{number:032x}" for number in range(20_000)]
    once = [pick_key(rank_hash(each, 7)) for each in ids]
    twice = [pick_key(rank_hash(each, 7), 2.0) for each in ids]
    assert math.isclose(sum(once) / len(ids), 1, abs_tol=0.03)
    assert all(a == 2 * b for a, b in zip(once, twice, strict=True))
    # Half of the rows weigh twice: of the first picks they take two thirds.
    keys = [
        (b if place % 2 else a, place % 2)
        for place, (a, b) in enumerate(zip(once, twice, strict=True))
    ]
    heavy = sum(odd for _, odd in sorted(keys)[:500])
    assert 0.62 < heavy / 500 < 0.72
    assert [pick_key(rank_hash(each, 8)) for each in ids[:5]] != once[:5]


def test_a_pick_key_is_known_by_heart() -> None:
    """Another hash would pick other rows than earlier versions did."""
    assert rank_hash("0" * 32, 0).hex() == "33f4c9402a7f144554cdf645b419e749"


def test_tables_survive_a_file() -> None:
    table = candidates([(0, 1, 2), (3, 2, 1)])
    zeros = np.array([b"a" + b"\0" * 31, b"\0" * 32], "S32")
    changed = Candidates(**{**vars(table), "media": zeros})
    back = Candidates.from_arrow(changed.to_arrow().slice(0))
    for name, values in vars(changed).items():
        found: Any = getattr(back, name)
        assert found.tobytes() == values.tobytes(), name
    assert Candidates.from_arrow(changed.to_arrow().slice(1)).record_id[0] == table.record_id[1]
    assert len(Candidates.join([])) == 0

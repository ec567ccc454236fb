"""Budgets that are watched while a stage runs: never wrongly, and the same for any order."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import HashStore  # type: ignore[attr-defined]  # torch does not mark it

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.process.shared_work import SharedWork
from mmrlhf_jobs.sampling.budgets import BudgetWatch, Limits
from mmrlhf_jobs.sampling.corpora.drops import DROPS_SCHEMA
from mmrlhf_jobs.sampling.corpora.extents import Extent, extent_of, extents_from
from mmrlhf_jobs.sampling.corpora.reading import DROPS_FILE
from mmrlhf_jobs.sampling.parts import Part, Parts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.sampling.corpora import cut, llava, split_of, write_lines, write_parquet, write_tar

FILE = st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 4))
LIMITS = Limits(0.2, {"not-utf8": 0.1})


def part(place: int, rows: int, broken: int, bytes_: int) -> Part:
    counts = {"rows": rows, "drop:invalid-json": broken, "drop:not-utf8": bytes_}
    return Part("", str(place), "", counts, {}, ())


def work() -> SharedWork:
    return SharedWork(Runtime(0, 1, torch.device("cpu")), Interruption(), [], lambda _counts: None)


@given(st.lists(FILE, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_job_is_stopped_if_and_only_if_it_would_fail_in_the_end(
    files: list[tuple[int, int, int]], rng: random.Random
) -> None:
    """Processes finish in any order; all see the same run of first parts."""
    parts = [part(place, *file) for place, file in enumerate(files)]
    rows = [sum(file) for file in files]
    sound = [file[0] for file in files]
    total = sum(rows)
    fails = (
        sum(file[2] for file in files) > 0.1 * total
        or sum(file[1] + file[2] for file in files) > 0.2 * total
    )
    found = []
    for order in (list(range(len(files))), rng.sample(range(len(files)), len(files))):
        made: set[int] = set()
        watch = BudgetWatch(
            work(),
            LIMITS,
            lambda place, made=made: parts[place] if place in made else None,  # type: ignore[misc]
            len(files),
            unread=lambda place: Extent(sum(rows[place:]), sum(sound[place:])),
        )
        for place in order:
            if watch._look() is not None:
                break
            made.add(place)
        excess = watch._look()
        assert (excess is not None) == fails
        found.append((excess, len(watch.parts)))
    assert found[0] == found[1]


def test_the_error_of_an_early_stop_names_the_files(tmp_path: Path) -> None:
    parts = Parts(ArtifactStore(str(tmp_path / "out")), "rows", scratch=tmp_path / "scratch")
    drop = {"source": "s", "file": "a.jsonl", "row": 3, "turn": None, "reason": "invalid-json"}
    made: list[Part] = []
    for place in range(3):
        with parts.make(str(place), "key") as draft:
            table = pa.Table.from_pylist([drop | {"message": "no JSON"}] * 4, DROPS_SCHEMA)
            pa.parquet.write_table(table, draft.folder / DROPS_FILE)
            draft.counts |= {"rows": 1, "drop:invalid-json": 4}
        made.append(parts.get(str(place), "key"))
    shared, taken = work(), list[int]()
    watch = BudgetWatch(
        shared,
        Limits(0.5, {}),
        lambda place: made[place] if place in taken else None,
        3,
        unread=lambda place: Extent(100, (3 - place) * 3),
    )
    assert not watch.passed()  # nobody has told of a row that was left out
    for place in shared.share("read", range(3), enough=watch.passed):
        taken.append(place)
        watch.add(made[place])
    assert taken == [0, 1]
    with pytest.raises(DataError) as caught:
        watch.check()
    assert str(caught.value) == (
        "field spec.failures.maxFraction: 8 of 10 rows cannot be used (8 invalid-json), more than"
        " the 0.5 that it allows with the 3 at most that were not read: a.jsonl has 8"
        " (invalid-json; row 3: no JSON). Mend the data, or raise the limit"
    )


@pytest.mark.parametrize("kind", ["jsonl", "json", "tar", "parquet"])
def test_a_file_never_holds_more_rows_than_its_extent(tmp_path: Path, kind: str) -> None:
    """The shortest rows there are, of each sort."""
    path = tmp_path / f"a.{kind}"
    turn = {"user": 1, "assistant": 1}
    rows: list[dict[str, Any]] = [
        *[{"texts": []}] * 40,
        *[{"question": 1}] * 40,
        {"image": "a", "texts": [turn] * 40},
        {"image": "a", "messages": [{"role": "user", "content": 1}] * 3},
    ]
    match kind:
        case "jsonl":
            write_lines(path, [*rows, *[b"x"] * 500])
        case "json":
            path.write_text(json.dumps(rows, separators=(",", ":"))[:-1] + ",1" * 500 + "]")
        case "tar":
            write_tar(path, [(f"{n}.json", json.dumps(row).encode()) for n, row in enumerate(rows)])
        case _:
            plain = [{"image": "a", "texts": [turn] * n} for n in (0, 5, 40)]
            write_parquet(path, plain, group=2)
    found, drops = cut(path)
    extent = extent_of(split_of(path))
    faults = {"invalid-json", "invalid-row", "empty-answer", "empty-question"}
    sound = len(found) + sum(drop.reason not in faults for drop in drops)
    assert 0 < sound <= extent.sound
    assert len(found) + len(drops) <= extent.any
    if kind == "parquet":
        assert extent.any <= 50
    assert extents_from([split_of(path)] * 2) == [extent + extent, extent, Extent()]


def test_rows_without_a_fault_are_a_candidate_or_none_by_nature(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [llava("1", "q", "a"), {"texts": []}])
    found, drops = cut(path)
    assert (len(found), [drop.reason for drop in drops]) == (1, ["no-media"])


def test_processes_that_stop_early_are_done_with_the_first_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = HashStore()
    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", lambda: store)
    taken: list[int] = []

    def process(rank: int) -> None:
        runtime = Runtime(rank, 3, torch.device("cpu"))
        shared = SharedWork(runtime, Interruption(), [], lambda _counts: None)
        for item in shared.share("x", range(40), enough=lambda: shared.total("bad") >= 9):
            taken.append(item)
            shared.count("bad", 1)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(process, range(3)))
    assert sorted(taken) == list(range(len(taken)))
    assert 9 <= len(taken) <= 11

"""Training state cut into shares and files, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mmrlhf_api import run_digest, training_digest
from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.training.engines.state import MASTER, Fragment, cut, split
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from tests.jobs.training.state_files import write
from tests.unit.api.specimens import job

SIZES = {"a": 23, "b": 1, "c": 8, "d": 100}


def whole() -> list[Fragment]:
    """Parameters whose numbers are all different; of ``b`` the optimizer has nothing yet."""
    found, first = [], 0
    for name, size in SIZES.items():
        row = torch.arange(first, first + size, dtype=torch.float32)
        moments = {} if name == "b" else {"exp_avg": -row, "exp_avg_sq": row.double() ** 2}
        found.append(Fragment(name, 0, {MASTER: row, **moments}, 0.0 if name == "b" else 5.0))
        first += size
    return found


def numbers(fragments: Sequence[Fragment]) -> list[float]:
    return [number for one in fragments for number in one.values[MASTER].tolist()]


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 132, 200])
def test_shares_hold_every_number_once_and_are_about_equal(processes: int) -> None:
    shares = [cut(whole(), rank=rank, world_size=processes) for rank in range(processes)]
    assert numbers([one for share in shares for one in share]) == list(range(132))
    lengths = [len(numbers(share)) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("limit", [1, 16, 100, 10**6])
def test_files_are_no_larger_than_the_limit_but_for_one_number(limit: int) -> None:
    groups = list(split(whole(), limit=limit))
    assert numbers([one for group in groups for one in group]) == list(range(132))
    sizes = [sum(v.nbytes for one in group for v in one.values.values()) for group in groups]
    assert max(sizes) <= max(limit, 4 + 4 + 8)
    assert len(groups) > 1 or limit == 10**6


@pytest.mark.parametrize(("before", "now"), [(1, 1), (3, 2), (2, 5)])
def test_what_was_written_by_some_is_read_by_others(tmp_path: Path, before: int, now: int) -> None:
    for rank in range(before):
        folder = tmp_path / str(rank)
        folder.mkdir()
        write(cut(whole(), rank=rank, world_size=before), folder, limit=300)
    saved = SavedState(tmp_path.glob("*/*.safetensors"), SIZES)
    saved.check(SIZES)
    for rank in range(now):
        for wanted in cut(whole(), rank=rank, world_size=now):
            found = saved.read(*wanted.span)
            assert found.step == wanted.step
            assert found.values.keys() == wanted.values.keys()
            for kind, value in wanted.values.items():
                assert found.values[kind].dtype == value.dtype
                assert torch.equal(found.values[kind], value)


@pytest.mark.parametrize("sizes", [{**SIZES, "e": 1}, {**SIZES, "a": 24}, {"a": 23}])
def test_parameters_of_another_model_are_named(tmp_path: Path, sizes: dict[str, int]) -> None:
    write(whole(), tmp_path)
    with pytest.raises(TrainingError, match=r"does not fit the model: parameter [abe] is trained"):
        SavedState(tmp_path.iterdir(), SIZES).check(sizes)


def test_a_share_of_nothing_is_a_file_all_the_same(tmp_path: Path) -> None:
    write([], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.safetensors"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"parallelism__zeroStage": 3}, True),
        ({"parallelism__engine": "none"}, True),
        ({"resources__nodes": 2}, True),
        ({"training__epochs": 2}, False),
        ({"training__queriesPerStep": 4}, False),
        ({"optimizer__learningRate": 0.5}, False),
    ],
)
def test_how_a_model_is_spread_makes_no_other_training(
    change: dict[str, object], *, same: bool
) -> None:
    assert (training_digest(job(**change)) == training_digest(job())) == same
    # Where a laptop keeps a run is another matter.
    names = RunLayout.of(job(**change)) == RunLayout.of(job())
    assert names == (run_digest(job(**change)) == run_digest(job()))

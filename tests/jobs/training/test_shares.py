"""Shares of ZeRO checkpoints for another number of processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.checkpoints import _overlaps
from mmrlhf_jobs.training.engines.deepspeed_files import TensorFiles
from mmrlhf_jobs.training.engines.deepspeed_shares import divide_anew

NUMBERS = (23, 1, 8)
"""Of three groups."""
MASTERS = "single_partition_of_fp32_groups"


def size_of(group: int, world_size: int) -> int:
    """Numbers of a share, as DeepSpeed divides a row: all alike, a multiple of two."""
    return -(-NUMBERS[group] // (2 * world_size)) * 2


def share(group: int, rank: int, world_size: int, *, sign: int) -> tuple[torch.Tensor, int]:
    """A process's part of the row sign * (1, 2, 3, ...), and how many zeros come after it."""
    size = size_of(group, world_size)
    row = torch.arange(1.0, NUMBERS[group] + 1) * sign
    part = row[rank * size : (rank + 1) * size]
    return part, size - len(part)


def padded(group: int, rank: int, world_size: int, *, sign: int) -> torch.Tensor:
    part, padding = share(group, rank, world_size, sign=sign)
    return torch.cat([part, torch.zeros(padding)])


def save(folder: Path, world_size: int) -> None:
    folder.mkdir()
    TensorFiles().save(
        {"dp_world_size": world_size, "module": {"w": torch.ones(1)}},
        str(folder / "mp_rank_00_model_states.pt"),
    )
    for rank in range(world_size):
        parts = [share(group, rank, world_size, sign=1) for group in range(len(NUMBERS))]
        state: dict[str, Any] = {
            MASTERS: [part for part, _ in parts],
            "group_paddings": [padding for _, padding in parts],
            "base_optimizer_state": {
                "param_groups": [{"lr": 0.1, "params": [group]} for group in range(len(NUMBERS))],
                "state": {
                    group: {
                        "step": torch.tensor(5.0),
                        "exp_avg": padded(group, rank, world_size, sign=-1),
                    }
                    for group in range(len(NUMBERS))
                },
            },
        }
        name = f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        TensorFiles().save({"optimizer_state_dict": state}, str(folder / name))


@pytest.mark.parametrize(
    ("before", "now"), [(2, 3), (3, 2), (4, 1), (1, 4), (4, 6), (6, 4), (2, 2)]
)
def test_shares_are_those_of_a_run_that_had_as_many_processes(
    tmp_path: Path, before: int, now: int
) -> None:
    save(tmp_path / "saved", before)
    for rank in range(now):
        runtime = Runtime(rank, now, torch.device("cpu"))
        folder = tmp_path / f"rank-{rank}"
        folder.mkdir()
        # What the process fetches, and no more.
        for part in {0, *_overlaps(runtime, before)}:
            for path in (tmp_path / "saved").glob(f"*_rank_{part}_*"):
                shutil.copy(path, folder)
        shutil.copy(tmp_path / "saved/mp_rank_00_model_states.pt", folder)
        sizes = [size_of(group, now) for group in range(len(NUMBERS))]
        divide_anew(folder, rank=rank, world_size=now, sizes=sizes)

        files = TensorFiles()
        assert files.load(str(folder / "mp_rank_00_model_states.pt"))["dp_world_size"] == now
        name = f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        state = files.load(str(folder / name))["optimizer_state_dict"]
        for group, size in enumerate(sizes):
            found = torch.zeros(size)
            masters = state[MASTERS][group]
            found[: len(masters)] = masters
            assert torch.equal(found, padded(group, rank, now, sign=1))
            moments = state["base_optimizer_state"]["state"][group]
            assert torch.equal(moments["exp_avg"], padded(group, rank, now, sign=-1))
            assert moments["step"] == 5


def test_a_share_that_is_needed_and_not_here_is_told(tmp_path: Path) -> None:
    save(tmp_path / "saved", 3)
    (tmp_path / "saved/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(TrainingError, match="of 3 processes cannot be divided among 2"):
        divide_anew(tmp_path / "saved", rank=0, world_size=2, sizes=[12, 2, 4])

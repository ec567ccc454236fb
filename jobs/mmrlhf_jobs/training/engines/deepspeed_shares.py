"""Checkpoints of ZeRO stages 1 and 2 divided anew, for another number of processes.

In these stages each process keeps an equal share of one long row of numbers a parameter group:
float32 masters, and the moments of AdamW beside them. The row is the same whatever the number of
processes, but for zeros at its end, so the shares of one number are cut out of those of another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.training.engines.deepspeed_files import TensorFiles

__all__ = ["divide_anew"]

_MODEL: Final = "mp_rank_00_model_states.pt"
_SHARE: Final = re.compile(r"(.*zero_pp_rank_)(\d+)(_mp_rank_00_optim_states\.pt)")
_MASTERS: Final = "single_partition_of_fp32_groups"
_OPTIMIZER: Final = "base_optimizer_state"


def divide_anew(folder: Path, *, rank: int, world_size: int, sizes: Sequence[int]) -> None:
    """Write the share of a process where others have been, if there were fewer or more of them.

    Args:
        folder: The checkpoint with the shares that hold what is to be this process's.
        rank: This process.
        world_size: Processes that there are now.
        sizes: Numbers in this process's share of each group, the zeros at the end included.

    Raises:
        TrainingError: A group is so small that its numbers are in a share that is not here.
    """
    files = TensorFiles()
    model = files.load(str(folder / _MODEL), map_location="cpu")
    before = model["dp_world_size"]
    if before == world_size:
        return
    model["dp_world_size"] = world_size
    files.save(model, str(folder / _MODEL))
    del model
    found = [match for path in folder.iterdir() if (match := _SHARE.fullmatch(path.name))]
    here = {int(match[2]) for match in found}
    rows: list[dict[str, torch.Tensor]] = [{} for _ in sizes]
    for match in found:
        saved = files.load(str(folder / match[0]), map_location="cpu")
        groups = _groups(saved["optimizer_state_dict"])
        for row, size, (share, values) in zip(rows, sizes, groups, strict=True):
            touched = range(rank * size // share, -(-(rank + 1) * size // share))
            if not here.issuperset(range(before)[touched.start : touched.stop]):
                raise TrainingError(
                    f"the checkpoint of {before} processes cannot be divided among {world_size}; "
                    "run it by as many as before, or start over with checkpoint.resume: none"
                )
            _copy(row, values, begin=int(match[2]) * share, start=rank * size, size=size)
    state = saved["optimizer_state_dict"]
    base = state[_OPTIMIZER]
    for group, row in zip(base["param_groups"], rows, strict=True):
        base["state"][group["params"][0]].update(
            {name: values for name, values in row.items() if name != _MASTERS}
        )
    state[_MASTERS] = [row[_MASTERS] for row in rows]
    state["group_paddings"] = [0] * len(rows)
    files.save(saved, str(folder / f"{found[0][1]}{rank}{found[0][3]}"))


def _groups(state: dict[str, Any]) -> list[tuple[int, dict[str, torch.Tensor]]]:
    """Of each group in a saved share: its length, and its numbers by name without the zeros."""
    found = []
    for masters, padding, group in zip(
        state[_MASTERS],
        state["group_paddings"],
        state[_OPTIMIZER]["param_groups"],
        strict=True,
    ):
        size = masters.numel() + padding
        moments = {
            name: value[: masters.numel()]
            for name, value in state[_OPTIMIZER]["state"][group["params"][0]].items()
            if torch.is_tensor(value) and value.shape == (size,)
        }
        found.append((size, {_MASTERS: masters, **moments}))
    return found


def _copy(
    row: dict[str, torch.Tensor],
    values: dict[str, torch.Tensor],
    *,
    begin: int,
    start: int,
    size: int,
) -> None:
    """Copy what a saved share, from `begin` on, has of a new one, from `start` on."""
    for name, value in values.items():
        target = row.setdefault(name, torch.zeros(size, dtype=value.dtype))
        low, high = max(begin, start), min(begin + value.numel(), start + size)
        if low < high:
            target[low - start : high - start] = value[low - begin : high - begin]

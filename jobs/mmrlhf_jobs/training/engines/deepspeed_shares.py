"""Where DeepSpeed keeps a process's share of masters and moments, number by number.

In stages 1 and 2 the parameters of a group stand in one long row, of which each process holds an
equal part. In stage 3 each parameter is divided on its own, and the parts of one process stand in
rows. Both pad the end with zeros, which are nobody's numbers and are not saved. The names are those
of DeepSpeed 0.19 (``deepspeed/utils/tensor_fragment.py``, ``deepspeed/runtime/zero/stage3.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmrlhf_jobs.training.engines.state import MASTER, Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState

__all__ = ["Place", "ZeroShares"]


@dataclass(frozen=True)
class Place:
    """Numbers of a parameter that this process holds.

    Attributes:
        name: Name of the parameter.
        start: Place of the first of them in the flattened parameter.
        length: How many there are.
        row: Row of masters that they stand in; the optimizer knows its moments by it.
        offset: Place of the first of them in the row.
    """

    name: str
    start: int
    length: int
    row: torch.Tensor
    offset: int


class ZeroShares:
    """Masters and moments of this process, of stages 1 to 3.

    Args:
        module: What is trained, once DeepSpeed has it.
        optimizer: DeepSpeed's, around that of torch.
        rank: This process.
    """

    def __init__(self, module: nn.Module, optimizer: Any, *, rank: int) -> None:  # noqa: ANN401
        # Parameters have attributes of DeepSpeed's.
        self._parameters: dict[str, Any] = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self._optimizer = optimizer
        self._rank = rank
        self._divided = any(hasattr(one, "ds_id") for one in self._parameters.values())

    def sizes(self) -> dict[str, int]:
        """Numbers of each parameter over all processes."""
        return {
            name: int(parameter.ds_numel) if self._divided else parameter.numel()
            for name, parameter in self._parameters.items()
        }

    def places(self) -> Iterator[Place]:
        """What this process holds, by parameter."""
        for name, parameter in self._parameters.items():
            place = (self._divided_place if self._divided else self._place)(name, parameter)
            if place is not None:
                yield place

    def fragment(self, place: Place) -> Fragment:
        """The numbers of a place, as views."""
        state = self._optimizer.optimizer.state.get(place.row, {})
        rows = {MASTER: place.row, **_moments(state, place.row)}
        values = {
            kind: row.detach().narrow(0, place.offset, place.length) for kind, row in rows.items()
        }
        return Fragment(place.name, place.start, values, float(state.get("step", 0.0)))

    @torch.no_grad()
    def load(self, saved: SavedState) -> None:
        """Fill this process's share with what was saved; `show` makes it known."""
        steps: dict[int, float] = {}
        for place in self.places():
            found = saved.read(place.name, place.start, place.start + place.length)
            state = self._optimizer.optimizer.state[place.row]
            for kind, values in found.values.items():
                if kind != MASTER and kind not in state:
                    state[kind] = torch.zeros_like(place.row)
                row = place.row if kind == MASTER else state[kind]
                row.narrow(0, place.offset, place.length).copy_(values)
            # A row has one count; plain torch has one a parameter, which differ where some are not
            # used in a step.
            steps[id(place.row)] = max(steps.get(id(place.row), 0.0), found.step)
            state["step"] = torch.tensor(steps[id(place.row)], device=place.row.device)

    @torch.no_grad()
    def show(self) -> None:
        """Round the masters into the weights, on all processes."""
        optimizer = self._optimizer
        if not self._divided:
            optimizer.update_lp_params()
            return
        optimizer._partition_all_parameters()  # noqa: SLF001
        for number in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(number)  # noqa: SLF001
        kept = optimizer.persistent_parameters
        if kept:
            kept[0].all_gather(kept)

    def _place(self, name: str, parameter: Any) -> Place | None:  # noqa: ANN401
        mapping = parameter._hp_mapping  # noqa: SLF001
        if mapping is None:
            return None
        row = self._optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
        here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
        return Place(name, here.start, here.numel, row, there.start)

    def _divided_place(self, name: str, parameter: Any) -> Place | None:  # noqa: ANN401
        share = parameter.ds_tensor.numel()
        start = self._rank * share
        length = min(share, parameter.ds_numel - start)
        if length <= 0:
            return None
        optimizer = self._optimizer
        number, offset, _ = optimizer.grad_position[optimizer.get_param_id(parameter)]
        row = optimizer.fp32_partitioned_groups_flat[number]
        return Place(name, start, length, row, offset)


def _moments(state: dict[str, Any], row: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        kind: value
        for kind, value in state.items()
        if torch.is_tensor(value) and value.shape == row.shape and kind != "step"
    }

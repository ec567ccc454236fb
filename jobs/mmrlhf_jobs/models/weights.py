"""Weights that are brought to a process when it reads them, and not before.

What writes a model asks for one weight at a time: those that processes share are put together then,
and an adapter is added to what it belongs to. So there is never a second model in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Weight", "held"]


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight of a model. Names of one weight have one of these.

    Attributes:
        shape: Of the whole weight.
        dtype: What it is read in.
        read: Its numbers, on any device.
    """

    shape: torch.Size
    dtype: torch.dtype
    read: Callable[[], Tensor]


def held(weights: Mapping[str, Tensor]) -> dict[str, Weight]:
    """Weights that this process has; those of one place in memory are one weight."""
    places: dict[object, Weight] = {}
    found = {}
    for name, value in weights.items():
        place = (value.device, value.data_ptr(), value.shape, value.stride())
        own = Weight(value.shape, value.dtype, value.detach)
        found[name] = places.setdefault(place, own) if value.numel() else own
    return found

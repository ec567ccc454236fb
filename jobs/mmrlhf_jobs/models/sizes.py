"""Whether a model's configuration is of the size of its weights, before memory is taken for it.

transformers makes all weights that a configuration describes, and fills those that no file holds
with random numbers. A config.json of a larger model beside the weights of a small one would take
all the memory there is before anybody is told that weights are missing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PretrainedConfig

from mmrlhf_jobs.errors import ModelError

__all__ = ["refuse_larger"]

_MOST = 2.0
"""Weights that are described for each that is held. Tied ones are held once and described once; a
folder that lacks a few is told by their names, after it was loaded."""


class _Maker(Protocol):
    def from_config(self, config: PretrainedConfig, *, trust_remote_code: bool) -> nn.Module: ...


def refuse_larger(auto: _Maker, config: PretrainedConfig, folder: Path) -> None:
    """Refuse a model whose configuration describes far more weights than its files hold.

    Args:
        auto: The class of transformers that makes the model.
        config: Its configuration.
        folder: Where its files are.

    Raises:
        ModelError: It does, with both numbers.
    """
    held = sum(_held(folder))
    if not held:
        return  # told by whoever loads
    with torch.device("meta"):  # shapes alone, no memory
        skeleton = auto.from_config(copy.deepcopy(config), trust_remote_code=False)
    described = sum(weight.numel() for weight in skeleton.parameters())
    if described > _MOST * held:
        raise ModelError(
            f"{folder}: config.json describes a model of {described:,} weights, and the files hold "
            f"{held:,}: weights are missing, or config.json belongs to another model"
        )


def _held(folder: Path) -> Iterator[int]:
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - no mapping
                    yield math.prod(file.get_slice(name).get_shape())
        except (OSError, SafetensorError):
            continue  # told by whoever loads

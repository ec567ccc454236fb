"""Runs of vision towers, counted where pixels come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@contextmanager
def counted_runs() -> Iterator[list[int]]:
    """Pictures of each run of any model's tower.

    Not counted are blank images, and the models' own forward passes that ours are compared with.
    """
    runs: list[int] = []
    within: list[nn.Module] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        if type(module).__name__.endswith("ForConditionalGeneration"):
            within.append(module)

    def count(module: nn.Module, inputs: Any, _output: Any) -> None:
        if within and module is within[-1]:
            within.pop()
        elif not within and isinstance(module, nn.Conv2d | nn.Conv3d):
            pixels = inputs[0].flatten(2)
            if float((pixels.amax(-1) - pixels.amin(-1)).max()) > 0:
                runs.append(len(pixels))

    hooks = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(count, always_call=True),
    ]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()

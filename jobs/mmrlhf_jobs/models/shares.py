"""Weights that processes share, from when they are read on: each process keeps a part of every one.

What splits them is an engine's business (`mmrlhf_jobs.training.engines`). Here is what the rest
must know: which size a weight has whose numbers are elsewhere, how to have them all for a while,
and how weights are given away one by one while a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

__all__ = [
    "Share",
    "Splitter",
    "Take",
    "count_numbers",
    "give_away",
    "is_shared",
    "mark_share",
    "shape_of",
    "whole",
]

_SHARE: Final = "mmrlhf_share"
_ONE_BY_ONE: Final = "HF_DEACTIVATE_ASYNC_LOAD"
"""transformers reads tensors ahead by threads, as many as there are, unless this is set."""

Take = Callable[[nn.Parameter], None]
"""Takes a weight that was read, of which it may leave a part alone; every process calls it for the
same weights in the same order."""


class Share(Protocol):
    """What a process knows of a weight that it has a part of."""

    @property
    def shape(self) -> torch.Size:
        """Of the whole weight."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside, all numbers are in the weight; all processes ask together."""


class Splitter(Protocol):
    """Divides weights over processes; each of its methods is called by all of them together."""

    def take(self, parameter: nn.Parameter) -> None:
        """Keep this process's part of a weight that was read, and let go of the rest."""

    def begin(self, module: nn.Module) -> None:
        """Get ready for passes of a module before there is an engine, or where there is none."""

    def passes(self) -> AbstractContextManager[None]:
        """Inside, passes of the module may be made, as many on every process."""

    def any(self, own: bool) -> bool:
        """Whether one of the processes says yes; before passes that not all have a use for."""

    def end(self) -> None:
        """Leave the module to an engine, or to nobody."""


def mark_share(parameter: nn.Parameter, share: Share) -> None:
    """Note that this process has a part of a weight."""
    setattr(parameter, _SHARE, share)


def is_shared(parameter: Tensor) -> bool:
    """Whether this process has a part of a weight alone."""
    return hasattr(parameter, _SHARE)


def shape_of(parameter: Tensor) -> torch.Size:
    """The shape of a whole weight, whatever this process holds of it."""
    share: Share | None = getattr(parameter, _SHARE, None)
    return parameter.shape if share is None else share.shape


def count_numbers(parameter: Tensor) -> int:
    """Numbers of a whole weight, whatever this process holds of it."""
    return shape_of(parameter).numel()


@contextmanager
def whole(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Have all numbers of some weights while inside; every process that shares them comes here."""
    with ExitStack() as stack:
        for parameter in parameters:
            share: Share | None = getattr(parameter, _SHARE, None)
            if share is not None:
                stack.enter_context(share.whole())
        yield


@contextmanager
def give_away(take: Take | None, *, rows: int) -> Iterator[None]:
    """Give each weight away as soon as it has its place in a model, while transformers loads it.

    Args:
        take: Who takes them; None leaves all as they are.
        rows: Weights of as many rows stay: those of tokens, which are compared if they are tied.
    """
    if take is None:
        yield
        return

    def placed(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        if parameter is None or parameter.is_meta or is_shared(parameter):
            return
        if parameter.ndim == 2 and parameter.shape[0] == rows:
            return
        take(parameter)

    before = os.environ.get(_ONE_BY_ONE)
    os.environ[_ONE_BY_ONE] = "1"
    hook = register_module_parameter_registration_hook(placed)
    try:
        yield
    finally:
        hook.remove()
        if before is None:
            del os.environ[_ONE_BY_ONE]
        else:
            os.environ[_ONE_BY_ONE] = before

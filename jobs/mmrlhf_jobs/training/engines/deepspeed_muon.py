"""DeepSpeed's optimizer Muon, imported without the compiler of torch.

All optimizers of ZeRO ask whether theirs is Muon and import it for that. Its module compiles a
function as it is imported, for which torch's compiler, with two seconds of imports, is loaded into
each process, whatever its optimizer is (deepspeed/runtime/zero/muon/original_muon.py of 0.19).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["compile_when_called", "import_muon"]

P = ParamSpec("P")
R = TypeVar("R")


def import_muon() -> None:
    """Import Muon, if this DeepSpeed has it; what it compiles is compiled when it is called."""
    from deepspeed.runtime import compiler

    at_once = compiler.compile
    compiler.compile = lambda: compile_when_called
    try:
        with suppress(ImportError):
            import deepspeed.runtime.zero.muon.original_muon  # noqa: F401
    finally:
        compiler.compile = at_once


def compile_when_called(function: Callable[P, R]) -> Callable[P, R]:
    """`torch.compile`, which loads the compiler, at the first call."""

    @cache
    def compiled() -> Callable[P, R]:
        return torch.compile(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():  # as a part of what calls it
            return function(*args, **kwargs)
        return compiled()(*args, **kwargs)

    return call

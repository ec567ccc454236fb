"""Which engine trains a job."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar

from mmrlhf_api import ModelSource, Optimizer, Parallelism
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.interface import EngineFactory

__all__ = ["EngineSpec", "choose_engine", "engine_name", "register"]


class EngineSpec(Protocol):
    """What engines read of the ``spec`` of a job that trains."""

    @property
    def model(self) -> ModelSource:
        """Which model, and its number format."""

    @property
    def optimizer(self) -> Optimizer:
        """Settings of AdamW."""

    @property
    def parallelism(self) -> Parallelism:
        """Which engine, and the ZeRO stage."""


Maker = Callable[[EngineSpec, Runtime], EngineFactory]
MakerT = TypeVar("MakerT", bound=Maker)

_ENGINES: dict[str, Maker] = {}


def register(name: str) -> Callable[[MakerT], MakerT]:
    """Make an engine known by its name in ``parallelism.engine``; decorates its factory.

    Raises:
        ValueError: Another one has the name.
    """

    def enter(maker: MakerT) -> MakerT:
        if _ENGINES.setdefault(name, maker) is not maker:
            raise ValueError(f"there is an engine {name!r} already")
        return maker

    return enter


def choose_engine(spec: EngineSpec, runtime: Runtime) -> EngineFactory:
    """The engine that the job names; ``auto`` is DeepSpeed for several processes, else none."""
    _import_engines()
    return _ENGINES[engine_name(spec.parallelism, runtime.world_size)](spec, runtime)


def engine_name(parallelism: Parallelism, processes: int) -> str:
    """Name of the engine that trains with so many processes, as in ``parallelism.engine``."""
    name: str = parallelism.engine
    if name == "auto":
        name = "deepspeed" if processes > 1 else "none"
    return name


@cache
def _import_engines() -> None:
    """Import every module beside this one: each registers what it makes."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

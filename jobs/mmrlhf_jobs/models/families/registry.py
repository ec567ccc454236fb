"""Which family a ``model_type`` of a ``config.json`` belongs to."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Protocol, TypeVar

from transformers import PretrainedConfig, ProcessorMixin

from mmrlhf_jobs.models.adapter import VLMAdapter
from mmrlhf_jobs.models.families.rows import ROWS

__all__ = ["Family", "find_family", "register", "supported_model_types"]


class Family(Protocol):
    """Makes the adapter of a model; the class of the adapter does."""

    @property
    def processor_class(self) -> str:
        """Name of its processor's class in ``transformers``."""

    def __call__(self, config: PretrainedConfig, processor: ProcessorMixin) -> VLMAdapter:
        """Adapter of one model.

        Raises:
            ModelError: Model and processor do not belong together.
        """


FamilyT = TypeVar("FamilyT", bound=Family)

_FAMILIES: dict[str, Family] = {}


def register(model_type: str) -> Callable[[FamilyT], FamilyT]:
    """Make a family known for a ``model_type``; the decorator of its class.

    Raises:
        ValueError: Another one is registered for it.
    """

    def enter(family: FamilyT) -> FamilyT:
        if _FAMILIES.setdefault(model_type, family) is not family:
            raise ValueError(f"model_type {model_type!r} has a family already")
        return family

    return enter


def find_family(model_type: str) -> Family | None:
    """The family of a ``model_type``, if there is one."""
    _import_families()
    return _FAMILIES.get(model_type)


def supported_model_types() -> tuple[str, ...]:
    """The ``model_type`` values that have a family or a row in the table; others are tried."""
    _import_families()
    return tuple(sorted({*_FAMILIES, *(name for row in ROWS for name in row.model_types)}))


@cache
def _import_families() -> None:
    """Import every module beside this one: each registers what it knows."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

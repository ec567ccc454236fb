"""What is imported when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazily", "load"]


def load(home: str) -> Any:  # noqa: ANN401 - whatever is there
    """Return what a home names, ``module:name``; its module is imported when it is not yet.

    As `pkgutil.resolve_name`, whose module takes longer to import than a table to be read.
    """
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def lazily(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package (PEP 562).

    Args:
        package: Its name.
        names: Names that it has, with spaces between them, by the module that each comes from.
    """
    homes = {name: module for module, found in names.items() for name in found.split()}

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = load(f"{homes[name]}:{name}")
        setattr(sys.modules[package], name, value)
        return value

    return find

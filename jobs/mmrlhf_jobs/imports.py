"""Imports that take seconds, such as torch's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["many_imports"]


@contextmanager
def many_imports() -> Iterator[None]:
    """Import within this: the collector of garbage does not run meanwhile.

    Modules are kept for good. To look through them again and again, as it does while hundreds of
    thousands of objects are made, finds nothing and takes a seventh of the time of the import.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

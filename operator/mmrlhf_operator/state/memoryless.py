"""Storages of kopf that store nothing.

kopf compares each object that it sees with what it was when a handler of a change last succeeded.
There are no such handlers here, and the comparison of whole objects, which it makes all the same,
was a fifth of the operator's time.
"""

from __future__ import annotations

import kopf

__all__ = ["NoDiffs", "NoHandling"]


class NoDiffs(kopf.DiffBaseStorage):
    """Remembers no object, and finds nothing in one that could have changed."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """Nothing of an object matters."""
        return kopf.BodyEssence({})

    def fetch(self, **_: object) -> kopf.BodyEssence:
        """It was always like that."""
        return kopf.BodyEssence({})

    def store(self, **_: object) -> None:
        """Forget."""


class NoHandling(kopf.ProgressStorage):
    """Remembers no handler's progress."""

    def fetch(self, **_: object) -> None:
        """None was begun."""

    def store(self, **_: object) -> None:
        """Forget."""

    def purge(self, **_: object) -> None:
        """There is nothing to remove."""

    def touch(self, **_: object) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """There is nothing of it in an object."""
        return essence

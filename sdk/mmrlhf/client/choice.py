"""Which jobs are meant: by name, or by what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Choice"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Jobs by name, or those of a namespace that have something in common.

    Attributes:
        words: Names of jobs, or kinds; see `mmrlhf.client.names`.
        everything: All jobs, or all of the kinds.
        selector: Label selector.
    """

    words: Sequence[str]
    everything: bool = False
    selector: str | None = None

    @property
    def named(self) -> bool:
        """Whether jobs are named one by one."""
        return not self.everything and self.selector is None

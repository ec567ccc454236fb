"""Rows that a training finds hardest: those of largest loss in its last pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["HardestRows", "hardest_of"]

_KEPT: Final = 20


class HardestRows:
    """The rows of largest loss that one process has met in the present epoch.

    A row is in an epoch once, and no process knows the rows of another: they are put together
    where a checkpoint is saved, and at the end.

    Args:
        restored: What a checkpoint has kept, for one process of all.
    """

    def __init__(self, restored: Sequence[Mapping[str, Any]] = ()) -> None:
        self._rows = [dict(row) for row in restored]

    def note(self, losses: Iterable[tuple[str, float]], *, step: int, epoch: int) -> None:
        """Note the rows of a step.

        Args:
            losses: What messages call each row, and its loss.
            step: The step, from 1.
            epoch: Its epoch, from 0.
        """
        now = [{"row": name, "loss": loss, "step": step, "epoch": epoch} for name, loss in losses]
        self._rows = hardest_of([self._rows, now])

    def rows(self) -> list[dict[str, Any]]:
        """``row``, ``loss``, ``step`` and ``epoch`` of each, the largest loss first."""
        return self._rows


def hardest_of(parts: Iterable[Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of largest loss among those of several processes, of the latest epoch."""
    rows = [row for part in parts for row in part]
    latest = max((row["epoch"] for row in rows), default=0)
    now = (row for row in rows if row["epoch"] == latest)
    return sorted(now, key=lambda row: (-row["loss"], row["row"]))[:_KEPT]

"""Progress told to several listeners."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_jobs.reporting.events import Progress

__all__ = ["Several"]


class Several:
    """Tells each event to several.

    Args:
        members: Whom to tell.
    """

    def __init__(self, members: Sequence[Progress]) -> None:
        self._members = members

    def emit(self, event: str, **fields: object) -> None:
        """Tell the event to all."""
        for member in self._members:
            member.emit(event, **fields)

    def close(self) -> None:
        """Let all tell what is left."""
        for member in self._members:
            member.close()

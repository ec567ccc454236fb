"""Events that tell what a status says: each once, whichever operator comes to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from mmrlhf_operator.acting import effects
from mmrlhf_operator.acting.earlier_events import EarlierEvents
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.actions import Note

__all__ = ["Told"]


class Told:
    """What was told of one object, and what is still to be told of it.

    Args:
        earlier: Knows what operators before this one have told.
        retell_seconds: A note that is older and has no event was told: most clusters keep events
            for an hour.
    """

    def __init__(self, earlier: EarlierEvents, *, retell_seconds: float) -> None:
        self._earlier: Final = earlier
        self._retell_seconds: Final = retell_seconds
        self._told: set[str] | None = None
        self._due: dict[str, Note] = {}

    @property
    def is_known(self) -> bool:
        """Whether it was seen what the operator before this one told."""
        return self._told is not None

    async def tell(
        self, api: Api, subject: effects.Subject, found: Iterable[Note], *, now: datetime
    ) -> None:
        """Tell what was not told yet; what cannot be told now stays due.

        Args:
            api: The API server.
            subject: What the notes are about.
            found: What its status says.
            now: The time.
        """
        notes = {note.key: note for note in found}
        if self._told is None:
            self._told = await self._before(api, subject, notes, now)
        self._due |= {key: note for key, note in notes.items() if key not in self._told}
        while self._due:
            key, note = next(iter(self._due.items()))
            await effects.emit(api, subject, note)
            self._told.add(key)
            del self._due[key]

    async def _before(
        self, api: Api, subject: effects.Subject, notes: Mapping[str, Note], now: datetime
    ) -> set[str]:
        """What the operator before this one told; it may have died before it told the latest."""
        lately = {
            key: note
            for key, note in notes.items()
            if (now - note.at).total_seconds() < self._retell_seconds
        }
        if not lately:
            return set(notes)
        names = await self._earlier.names(api, subject.namespace, now=now)
        untold = {
            key for key, note in lately.items() if effects.event_name(subject, note) not in names
        }
        return set(notes) - untold

"""What a model is asked: one question, or a conversation that ends with one.

Most records ask one question, with their media in front of it; that is a plain string. What public
data sets have beyond it (a system text, earlier turns, images between words) makes a
:class:`Conversation`. All that follows from what is asked (prompts, keys, ids) takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mmrlhf_jobs.data.parts import Media, Place, Query, Turn, violated

__all__ = [
    "Asked",
    "Conversation",
    "as_json",
    "asked_of",
    "check_places",
    "repeated",
    "reworded",
    "transcript",
]


@dataclass(frozen=True)
class Conversation:
    """What is said before the answer.

    Attributes:
        text: The last turn, the user's question.
        system: What the model is told before all turns.
        turns: The turns before the last one.
        places: Per medium where it stands, in order; None: in front of the user's first turn.
    """

    text: str
    system: str | None = None
    turns: tuple[Turn, ...] = ()
    places: tuple[Place | None, ...] = ()

    @property
    def said(self) -> tuple[Turn, ...]:
        """All turns, the last one too."""
        return (*self.turns, Turn(role="user", text=self.text))

    @property
    def texts(self) -> dict[str, str]:
        """All texts by the path of their field in a record."""
        turns = {f"query.turns[{place}].text": one.text for place, one in enumerate(self.turns)}
        return {"query.system": self.system or "", **turns, "query.text": self.text}

    @property
    def stands(self) -> tuple[Place, ...]:
        """Per medium where it stands, those without a place too."""
        first = next(at for at, turn in enumerate(self.said) if turn.role == "user")
        return tuple(place or Place(turn=first, offset=0) for place in self.places)


Asked: TypeAlias = str | Conversation
"""A question with its media in front of it, or a conversation."""


def asked_of(query: Query, media: Sequence[Media]) -> Asked:
    """What a query asks: its text alone, unless there is more to it."""
    places = tuple(medium.place for medium in media)
    if query.system is None and not query.turns and not any(places):
        return query.text
    return Conversation(query.text, query.system, query.turns, places)


def as_json(asked: Asked) -> object:
    """The same as plain values, to be digested; a question is its text."""
    if isinstance(asked, str):
        return asked
    return {
        "system": asked.system,
        "turns": [[turn.role, turn.text] for turn in asked.said],
        "places": [[place.turn, place.offset] for place in asked.stands],
    }


def reworded(asked: Asked, before: str, after: str) -> Asked:
    """The same with texts around the question, which media in it move with."""
    if isinstance(asked, str):
        return f"{before}{asked}{after}"
    last = len(asked.turns)
    places = tuple(
        Place(turn=last, offset=place.offset + len(before))
        if place is not None and place.turn == last
        else place
        for place in asked.places
    )
    return replace(asked, text=f"{before}{asked.text}{after}", places=places)


def repeated(asked: Asked, counts: Sequence[int]) -> Asked:
    """The same for models that see each medium as several images in its place, as frames.

    Args:
        asked: A question, or a conversation.
        counts: Images of each medium, in order.
    """
    if isinstance(asked, str):
        return asked
    pairs = zip(asked.places, counts, strict=True)
    return replace(asked, places=tuple(place for place, count in pairs for _ in range(count)))


def transcript(asked: Asked) -> str:
    """The same for people, and for models that see one text: who says what; media are left out."""
    if isinstance(asked, str):
        return asked
    if asked.system is None and not asked.turns:
        return asked.text
    system = [] if asked.system is None else [f"System: {asked.system}"]
    return "\n\n".join([*system, *(f"{turn.role.title()}: {turn.text}" for turn in asked.said)])


def check_places(query: Query, media: Sequence[Media]) -> None:
    """Check that media stand in turns of the user, in their order.

    Raises:
        PydanticCustomError: They do not; for validators.
    """
    asked = asked_of(query, media)
    if isinstance(asked, str):
        return
    before: tuple[int, int] = (0, 0)
    said = asked.said
    for position, place in enumerate(asked.stands):
        where = f"media[{position}].place"
        if place.turn >= len(said):
            raise violated(
                f"{where}.turn",
                f"there is no turn {place.turn}; the question is turn {len(said) - 1}",
            )
        if said[place.turn].role != "user":
            raise violated(f"{where}.turn", "a medium stands in a turn of the user")
        if place.offset > len(said[place.turn].text):
            raise violated(f"{where}.offset", "it lies behind the end of the turn's text")
        if (place.turn, place.offset) < before:
            raise violated(where, "media must be listed in the order in which they stand")
        before = (place.turn, place.offset)

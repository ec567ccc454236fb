"""What a row asks, from texts with marks for media or from messages.

Public data sets write ``<image>`` and ``<video>`` into their texts, or give messages whose content
is a list of parts. Both say where media stand. Marks around the only question stand for media in
front of it, which needs no place in a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.parts import Media, Place, Turn

__all__ = ["MARK_KINDS", "Mark", "Message", "Piece", "Prompt", "make_prompt", "marked", "read_role"]

_MARK: Final = re.compile(r"<(image|video|audio)>")
MARK_KINDS: Final = ("image", "video")
_ROLES: Final[Mapping[str, Literal["system", "user", "assistant"]]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}


@dataclass(frozen=True)
class Mark:
    """Where a medium stands in a text.

    Attributes:
        kind: ``image`` or ``video``.
    """

    kind: str


Piece: TypeAlias = str | Mark


@dataclass(frozen=True)
class Message:
    """One message before the answer.

    Attributes:
        role: Who says it.
        pieces: Text and marks, in order.
        field: Path of its field, for messages about it.
    """

    role: Literal["system", "user", "assistant"]
    pieces: tuple[Piece, ...]
    field: str


@dataclass(frozen=True)
class Prompt:
    """What a row asks.

    Attributes:
        text: The question.
        media: Its media, in the order in which they stand; with places where they need some.
        system: What the model is told before all turns.
        turns: The turns before the question.
    """

    text: str
    media: tuple[Media, ...]
    system: str | None = None
    turns: tuple[Turn, ...] = ()


def marked(text: str) -> tuple[Piece, ...]:
    """A text with ``<image>`` and ``<video>`` in it as pieces."""
    pieces: list[Piece] = []
    at = 0
    for found in _MARK.finditer(text):
        pieces += [text[at : found.start()], Mark(found[1])]
        at = found.end()
    return tuple(piece for piece in [*pieces, text[at:]] if piece != "")


def read_role(row: RawPairRow, value: Any, field: str) -> Literal["system", "user", "assistant"]:  # noqa: ANN401 - any JSON
    """The role of a message, whichever names a format uses.

    Raises:
        RowFault: It is none that records have.
    """
    role = _ROLES.get(value) if isinstance(value, str) else None
    if role is None:
        raise row.error(field, f"{value!r} is none of {', '.join(_ROLES)}", "unsupported")
    return role


def make_prompt(row: RawPairRow, messages: Sequence[Message], media: Sequence[Media]) -> Prompt:
    """Put media into the messages before an answer.

    Raises:
        RowFault: The last message is not the user's, marks and media do not fit each other, or
            there is no question.
    """
    system, said = _without_system(row, messages)
    if media and all(medium.kind == "video" for medium in media):
        # The LLaVA family marks videos by <image> too.
        said = [replace(one, pieces=tuple(map(_as_video, one.pieces))) for one in said]
    if not said or said[-1].role != "user":
        roles = ", ".join(one.role for one in messages) or "none"
        field = messages[-1].field if messages else None
        raise row.error(field, f"must end with a message of the user, got roles: {roles}")
    last = said[-1]
    _check_marks(row, said, media)
    if len(said) == 1 and (plain := _without_edges(last.pieces)) is not None:
        text = plain.strip()
        if not text:
            raise row.error(last.field, "is empty")
        return Prompt(text, tuple(media), system)
    if not any(isinstance(piece, Mark) for one in said for piece in one.pieces):
        turns = tuple(_turn(row, one, "".join(map(str, one.pieces)).strip()) for one in said)
        return Prompt(turns[-1].text, tuple(media), system, turns[:-1])
    return _placed(row, system, said, media)


def _as_video(piece: Piece) -> Piece:
    return Mark("video") if piece == Mark("image") else piece


def _without_system(
    row: RawPairRow, messages: Sequence[Message]
) -> tuple[str | None, Sequence[Message]]:
    if not messages or messages[0].role != "system":
        said = messages
        system = None
    else:
        first, said = messages[0], messages[1:]
        if any(isinstance(piece, Mark) for piece in first.pieces):
            raise row.error(first.field, "a system text holds no media", "placeholders")
        system = "".join(map(str, first.pieces)).strip() or None
    for one in said:
        if one.role == "system":
            raise row.error(
                one.field, "a system text stands before all other messages", "unsupported"
            )
    return system, said


def _check_marks(row: RawPairRow, said: Sequence[Message], media: Sequence[Media]) -> None:
    for kind in (*MARK_KINDS, "audio"):
        at = [one for one in said for piece in one.pieces if piece == Mark(kind)]
        have = sum(medium.kind == kind for medium in media)
        if len(at) > have:
            raise row.error(
                at[have].field,
                f"{len(at)} <{kind}> stand in the texts for {have} {kind}s of the row",
                "placeholders",
            )
        answered = next((one for one in at if one.role != "user"), None)
        if answered is not None:
            raise row.error(answered.field, "media stand in messages of the user", "placeholders")


def _without_edges(pieces: Sequence[Piece]) -> str | None:
    """The text without marks around it; None if there are marks within it."""
    start, stop = 0, len(pieces)
    while start < stop and _is_edge(pieces[start]):
        start += 1
    while stop > start and _is_edge(pieces[stop - 1]):
        stop -= 1
    inner = pieces[start:stop]
    return None if any(isinstance(one, Mark) for one in inner) else "".join(map(str, inner))


def _is_edge(piece: Piece) -> bool:
    return isinstance(piece, Mark) or not piece.strip()


def _placed(
    row: RawPairRow, system: str | None, said: Sequence[Message], media: Sequence[Media]
) -> Prompt:
    marks = sum(isinstance(piece, Mark) for one in said for piece in one.pieces)
    if marks < len(media):
        raise row.error(
            said[-1].field,
            f"the row has {len(media)} media and {marks} marks among its words, so where the others"
            " stand is not known",
            "placeholders",
        )
    left = {kind: iter([one for one in media if one.kind == kind]) for kind in MARK_KINDS}
    turns, placed = [], []
    for number, one in enumerate(said):
        text, last = "", 0
        for piece in one.pieces:
            if isinstance(piece, Mark):
                placed.append((next(left[piece.kind]), Place(turn=number, offset=len(text))))
                last = len(text)
            else:
                # What follows a mark in front of a turn begins a line of its own, as templates
                # write it.
                text += piece if text else piece.lstrip()
        turns.append(_turn(row, one, text[: max(last, len(text.rstrip()))]))
    first = next(at for at, turn in enumerate(turns) if turn.role == "user")
    if all((place.turn, place.offset) == (first, 0) for _, place in placed):
        media_at = [medium for medium, _ in placed]
    else:
        media_at = [medium.model_copy(update={"place": place}) for medium, place in placed]
    return Prompt(turns[-1].text, tuple(media_at), system, tuple(turns[:-1]))


def _turn(row: RawPairRow, message: Message, text: str) -> Turn:
    if not text.strip():
        raise row.error(message.field, "is empty")
    assert message.role != "system"
    return Turn(role=message.role, text=text)

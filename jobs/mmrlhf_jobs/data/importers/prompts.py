"""What a row asks, from texts with marks for media or from messages.

Public data sets write marks into their texts, or give messages whose content is a list of parts.
Both say where media stand. Marks around the only question stand for media in front of it, which
needs no place in a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mmrlhf_jobs.data.importers.marks import Mark, Piece, SurplusError, as_video, match_media
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.parts import Media, Place, Turn

__all__ = ["Message", "Prompt", "make_prompt", "read_role"]

_ROLES: Final[Mapping[str, Literal["system", "user", "assistant"]]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}


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
        said = [replace(one, pieces=tuple(map(as_video, one.pieces))) for one in said]
    if not said or said[-1].role != "user":
        roles = ", ".join(one.role for one in messages) or "none"
        field = messages[-1].field if messages else None
        raise row.error(field, f"must end with a message of the user, got roles: {roles}")
    last = said[-1]
    standing = _match(row, said, media)
    if len(said) == 1 and (plain := _without_edges(last.pieces)) is not None:
        text = plain.strip()
        if not text:
            raise row.error(last.field, "is empty")
        return Prompt(text, _in_front(standing, media), system)
    if not standing:
        turns = tuple(_turn(row, one, "".join(map(str, one.pieces)).strip()) for one in said)
        return Prompt(turns[-1].text, tuple(media), system, turns[:-1])
    return _placed(row, system, said, media, standing)


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


def _match(row: RawPairRow, said: Sequence[Message], media: Sequence[Media]) -> list[int]:
    """Place of the medium that each mark stands for, in the order of the marks."""
    marks = [(piece, one) for one in said for piece in one.pieces if isinstance(piece, Mark)]
    try:
        standing = match_media([mark for mark, _ in marks], media)
    except SurplusError as error:
        raise row.error(marks[error.mark][1].field, str(error), "placeholders") from error
    answered = next((one for _, one in marks if one.role != "user"), None)
    if answered is not None:
        raise row.error(answered.field, "media stand in messages of the user", "placeholders")
    return standing


def _in_front(standing: Sequence[int], media: Sequence[Media]) -> tuple[Media, ...]:
    """All media, in the order of their marks if all have one."""
    order = list(dict.fromkeys(standing))
    return tuple(media[place] for place in order) if len(order) == len(media) else tuple(media)


def _without_edges(pieces: Sequence[Piece]) -> str | None:
    """The text without marks around it; None if there are marks within it."""
    start, stop = 0, len(pieces)
    while start < stop and _is_edge(pieces[start]):
        start += 1
    while stop > start and _is_edge(pieces[stop - 1]) and not _is_named(pieces, stop - 1):
        stop -= 1
    inner = pieces[start:stop]
    return None if any(isinstance(one, Mark) for one in inner) else "".join(map(str, inner))


def _is_edge(piece: Piece) -> bool:
    return isinstance(piece, Mark) or not piece.strip()


def _is_named(pieces: Sequence[Piece], at: int) -> bool:
    """Whether a piece is a mark that a sentence names: numbered, after words on its line."""
    mark = pieces[at]
    if not isinstance(mark, Mark) or mark.number is None:
        return False
    for before in reversed(range(at)):
        piece = pieces[before]
        if isinstance(piece, Mark):
            return False
        if words := piece.rstrip(" "):
            return not words.endswith("\n")
    return False


def _placed(
    row: RawPairRow,
    system: str | None,
    said: Sequence[Message],
    media: Sequence[Media],
    standing: Sequence[int],
) -> Prompt:
    if len(set(standing)) < len(media):
        raise row.error(
            said[-1].field,
            f"the row has {len(media)} media and {len(set(standing))} marks among its words, so"
            " where the others stand is not known",
            "placeholders",
        )
    left = iter(standing)
    turns, placed = [], []
    for number, one in enumerate(said):
        text, last = "", 0
        for piece in one.pieces:
            if isinstance(piece, Mark):
                placed.append((media[next(left)], Place(turn=number, offset=len(text))))
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

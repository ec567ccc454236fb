"""From a raw row to its turns and media: the shapes in which public corpora write a row.

==============  ==============================================================  ==================
shape           fields                                                          known from
==============  ==============================================================  ==================
conversations   ``[{from: human|gpt, value}]``                                  LLaVA
messages        ``[{role: user|assistant, content: text or parts}]``            OpenAI, TRL
texts           ``[{user, assistant}]``                                         The Cauldron
question        ``question``, ``answer``, maybe ``options`` or ``choices``      VQA sets
instr-resp      ``[{instruction | safe_instruction |                            VLGuard
                unsafe_instruction, response}]``
query           ``Query/v1`` records, whose first response is the generated one mmrlhf
==============  ==============================================================  ==================

Media are ``image``, ``images``, ``video`` or ``videos``: a name, a list of names, or ``{path}``; or
parts of a chat such as ``{type: image, image: name}``. They belong to the whole row, so every turn
of it gets them again (research on LLaVA's format: the placeholder stands in the first turn only).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from mmrlhf_jobs.data.marks import MARK
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QUERY_SCHEMA_2
from mmrlhf_jobs.sampling.corpora.signs import answer_of, medium_shown, part_media, unread_answer

__all__ = ["BadRow", "Conversation", "Turn", "read_conversation", "without_placeholders"]

_HUMAN: Final = frozenset({"human", "user"})
_MODEL: Final = frozenset({"gpt", "assistant", "chatgpt", "model", "bot"})
_SILENT: Final = frozenset({"system", "tool", "function"})
_IDS: Final = ("id", "question_id", "sample_id", "record_id")
_OPTIONS: Final = ("options", "choices")
_INSTRUCTIONS: Final = ("instruction", "safe_instruction", "unsafe_instruction")


class BadRow(Exception):  # noqa: N818 - one row: counted, and held against a budget
    """A row that is of no shape that is known; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said, after joining what it said in a row."""

    side: Literal["human", "model"]
    text: str


@dataclass(frozen=True)
class Conversation:
    """A row as its turns.

    Attributes:
        id: Its id in the corpus, if it has one.
        turns: Sides in alternation, the human's first or not.
        options: Answers to choose from, if they have a field of their own.
        generated: Answer that a model gave before, if there is one.
        images: Names of image files.
        videos: Names of video files.
        shows: What shows that it has a medium, for people; None if nothing does.
        unread: Field that shows an answer where none was read; None if nothing does.
    """

    id: str | None
    turns: tuple[Turn, ...]
    options: tuple[str, ...]
    generated: str | None
    images: tuple[str, ...]
    videos: tuple[str, ...]
    shows: str | None = None
    unread: str | None = None


def read_conversation(row: Mapping[str, Any]) -> Conversation:
    """Read a row of any known shape.

    Raises:
        BadRow: It is of none.
    """
    if row.get("schema") in (QUERY_SCHEMA, QUERY_SCHEMA_2):
        return _read_query(row)
    name = next((str(row[name]) for name in _IDS if row.get(name) not in (None, "")), None)
    images, videos = _names(row, "image"), _names(row, "video")
    if not images and not videos:
        named = list(part_media(row))
        images = tuple(dict.fromkeys(name for kind, name in named if kind == "image"))
        videos = tuple(dict.fromkeys(name for kind, name in named if kind == "video"))
    turns = _joined(_said(row))
    return Conversation(
        id=name,
        turns=turns,
        options=_options(row),
        generated=None,
        images=images,
        videos=videos,
        shows=medium_shown(row),
        unread=unread_answer(row) if turns and turns[-1].side == "human" else None,
    )


def without_placeholders(text: str) -> str:
    """A text without the marks that say where media stand, and without white space around it."""
    return re.sub(r"(?<![ \t])[ \t]+\n", "\n", MARK.sub("", text)).strip()


def _said(row: Mapping[str, Any]) -> Iterator[Turn]:
    if "conversations" in row:
        yield from _answered(
            row, _sides(row["conversations"], "conversations", ("from", "role"), "value")
        )
    elif "messages" in row:
        yield from _answered(row, _sides(row["messages"], "messages", ("role", "from"), "content"))
    elif "texts" in row:
        for place, each in enumerate(_list(row["texts"], "texts")):
            yield Turn("human", _text(each, "user", f"texts[{place}]"))
            yield Turn("model", _text(each, "assistant", f"texts[{place}]"))
    elif "instr-resp" in row:
        for place, each in enumerate(_list(row["instr-resp"], "instr-resp")):
            where = f"instr-resp[{place}]"
            given = [name for name in _INSTRUCTIONS if isinstance(each, dict) and each.get(name)]
            if len(given) != 1:
                raise BadRow(f"{where} has not one of {', '.join(_INSTRUCTIONS)}")
            yield Turn("human", _text(each, given[0], where))
            yield Turn("model", _text(each, "response", where))
    elif "question" in row:
        yield Turn("human", _text(row, "question", ""))
        answer = answer_of(row)
        if isinstance(answer, int) and not isinstance(answer, bool):
            options = _options(row)
            answer = options[answer] if 0 <= answer < len(options) else str(answer)
        if answer is not None:
            yield Turn("model", _string(answer, "answer"))
    else:
        raise BadRow(
            "has none of conversations, messages, texts, instr-resp or question; see the shapes in"
            " docs/sampling.md"
        )


def _answered(row: Mapping[str, Any], turns: Iterator[Turn]) -> Iterator[Turn]:
    """Turns, and at last the answer that stands in a field beside them."""
    last: Turn | None = None
    for turn in turns:
        last = turn
        yield turn
    if last is not None and last.side == "human" and isinstance(answer_of(row), str):
        yield Turn("model", answer_of(row))


def _sides(turns: object, name: str, roles: Sequence[str], content: str) -> Iterator[Turn]:
    for place, each in enumerate(_list(turns, name)):
        if not isinstance(each, dict):
            raise BadRow(f"{name}[{place}] is no object")
        role = next((each[key] for key in roles if key in each), None)
        side = str(role).lower()
        if side in _SILENT:
            continue
        if side not in _HUMAN | _MODEL:
            raise BadRow(f"{name}[{place}].{roles[0]} is {role!r}; expected human or gpt")
        text = _spoken(each.get(content, each.get("content")), f"{name}[{place}].{content}")
        yield Turn("human" if side in _HUMAN else "model", text)


def _spoken(content: object, name: str) -> str:
    """Text of a message: a string, or the text parts of a list."""
    if not isinstance(content, list):
        return _string(content, name)
    parts = []
    for place, part in enumerate(content):
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict) and part.get("type") == "text":
            parts.append(_text(part, "text", f"{name}[{place}]"))
    return "\n".join(parts)


def _joined(turns: Iterator[Turn]) -> tuple[Turn, ...]:
    """Join what one side said in a row."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].side == turn.side:
            both = [text for text in (joined[-1].text, turn.text) if text.strip()]
            joined[-1] = Turn(turn.side, "\n".join(both))
        else:
            joined.append(turn)
    return tuple(joined)


def _read_query(row: Mapping[str, Any]) -> Conversation:
    query = row.get("query")
    if not isinstance(query, dict):
        raise BadRow("query is missing")
    turns = [Turn("human", _text(query, "text", "query"))]
    if query.get("reference_answer"):
        turns.append(Turn("model", _text(query, "reference_answer", "query")))
    responses = row.get("responses") or []
    generated = responses[0].get("text") if isinstance(responses[0:1], list) and responses else None
    media = [one for one in row.get("media") or [] if isinstance(one, dict) and one.get("uri")]
    return Conversation(
        id=str(row["record_id"]) if row.get("record_id") else None,
        turns=tuple(turns),
        options=_options(query),
        generated=generated,
        images=tuple(str(one["uri"]) for one in media if one.get("kind", "image") == "image"),
        videos=tuple(str(one["uri"]) for one in media if one.get("kind") == "video"),
    )


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    for name in _OPTIONS:
        value = row.get(name)
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list) and len(value) > 1:
            return tuple(str(option) for option in value if option is not None)
    return ()


def _names(row: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    names: list[str] = []
    for field in (kind, f"{kind}s"):
        value = row.get(field)
        for item in value if isinstance(value, list) else [value]:
            name = item.get("path") if isinstance(item, dict) else item
            if name is None or name == "":
                continue
            if not isinstance(name, str):
                raise BadRow(f"{field} is no name of a file, but {type(name).__name__}")
            names.append(name)
    return tuple(names)


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRow(f"{name} is no list")
    return value


def _text(holder: object, name: str, where: str) -> str:
    place = f"{where}.{name}" if where else name
    if not isinstance(holder, dict):
        raise BadRow(f"{where} is no object")
    return _string(holder.get(name), place)


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRow(f"{name} is {value}, which is no number")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise BadRow(f"{name} is no text, but {type(value).__name__}")
    return value

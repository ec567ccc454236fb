"""Messages as public formats write them: ``{role, content}`` or ``{from, value}``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.data.importers.marks import Mark, Piece, marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, read_image
from mmrlhf_jobs.data.importers.prompts import Message, read_role
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.marks import MARK
from mmrlhf_jobs.data.parts import Media

__all__ = ["Inline", "answer_text", "read_messages", "refuse_tools", "said_in"]


@dataclass
class Inline:
    """Images that stand in the messages themselves, in order.

    Attributes:
        files: Where files are.
        found: The images so far.
    """

    files: MediaFiles
    found: list[Media]


def read_messages(
    row: RawPairRow,
    value: Any,  # noqa: ANN401 - any JSON
    field: str,
    inline: Inline | None = None,
) -> list[Message]:
    """Read a list of messages.

    Args:
        row: The row.
        value: The list.
        field: Path of its field.
        inline: Takes up images that parts of contents hold; None: they hold none.

    Raises:
        RowFault: It is no list of messages with texts or parts.
    """
    if not isinstance(value, list):
        raise row.error(field, "must be a text or a list of messages")
    messages = []
    for position, message in enumerate(value):
        where = f"{field}[{position}]"
        if not isinstance(message, dict):
            raise row.error(where, "must be a message {role, content}")
        role, name = message.get("role"), "content"
        if role is None:
            role, name = message.get("from"), "value"
        if role is None:
            raise row.error(where, "must be a message {role, content}")
        if message.get("tool_calls"):
            raise row.error(
                f"{where}.tool_calls", "calls of tools are not supported", "unsupported"
            )
        pieces = _pieces(row, message.get(name), f"{where}.{name}", inline)
        messages.append(Message(read_role(row, role, where), pieces, f"{where}.{name}"))
    return messages


def said_in(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A text, or messages; those that Parquet and CSV hold as a text are read.

    A text that happens to be a JSON list or object, such as an answer of code, stays a text.
    """
    found = unpacked(value)
    listed = found if isinstance(found, list) else [found]
    if listed and all(isinstance(one, dict) and ("role" in one or "from" in one) for one in listed):
        return found
    return value


def answer_text(row: RawPairRow, messages: Sequence[Message], field: str) -> str:
    """The text of an answer, which must be one message of the assistant.

    Raises:
        RowFault: It is something else, or has no text.
    """
    roles = [one.role for one in messages]
    if roles != ["assistant"]:
        got = ", ".join(roles) or "none"
        raise row.error(field, f"must be one message of the assistant, got roles: {got}")
    pieces = messages[0].pieces
    if any(isinstance(piece, Mark) for piece in pieces):
        raise row.error(field, "an answer holds no media", "placeholders")
    text = "".join(map(str, pieces))
    if not text.strip():
        raise row.error(field, "must be one message of the assistant with some text")
    return text


def refuse_tools(row: RawPairRow, *names: str) -> None:
    """Refuse rows that need what records cannot hold: tools, sound, other images for one answer.

    Raises:
        RowFault: One of these fields holds something.
    """
    for name in names:
        if row.fields.get(name):
            raise row.error(name, "records cannot hold this; leave the row out", "unsupported")


def _pieces(
    row: RawPairRow,
    content: Any,  # noqa: ANN401 - any JSON
    field: str,
    inline: Inline | None,
) -> tuple[Piece, ...]:
    if isinstance(content, str):
        return marked(content)
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise row.error(field, "must be a text or a list of text and image parts")
    pieces: list[Piece] = []
    for number, part in enumerate(content):
        kind = part.get("type")
        where = f"{field}[{number}]"
        if kind == "text":
            text = str(part.get("text") or "")
            if MARK.search(text):
                raise row.error(
                    where,
                    "a text among parts holds a mark for a medium; make it a part of its own",
                    "placeholders",
                )
            pieces.append(text)
        elif kind in ("image", "image_url", "video"):
            pieces.append(Mark("video" if kind == "video" else "image"))
            held = part.get("image") if kind == "image" else part.get("image_url")
            if isinstance(held, dict) and "url" in held:
                held = held["url"]
            if held is not None and inline is not None:
                inline.found.append(read_image(row, inline.files, held, where))
        else:
            raise row.error(
                field, f"must be a text or a list of text and image parts, got {kind!r}"
            )
    return tuple(piece for piece in pieces if piece != "")

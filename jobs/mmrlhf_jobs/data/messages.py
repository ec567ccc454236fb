r"""What is asked, as the messages that a chat template renders.

A question has one ``<placeholder>\n`` per medium in front of it, the format of the MM-RLHF release.
In a conversation a medium at the start of a turn stands like that, and one between words is its
placeholder alone: the words around it bring their own spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.data.parts import Turn

__all__ = ["chat_messages", "in_one_text", "lost_message"]


def chat_messages(
    asked: Asked,
    kinds: Sequence[str],
    *,
    placeholders: Mapping[str, str],
    part_types: Mapping[str, str] | None,
    clean: Callable[[str], str] = str,
) -> list[dict[str, Any]]:
    """The messages before the answer.

    Args:
        asked: A question, or a conversation with a place for each medium.
        kinds: Kind of each medium, in order.
        placeholders: Kind of medium -> placeholder token.
        part_types: Kind of medium -> ``type`` of its content part, for templates that take parts;
            None: contents are texts.
        clean: What to make of each piece of text.
    """
    if isinstance(asked, str):
        said: Sequence[Turn] = [Turn.model_construct(role="user", text=asked)]
        where = [(0, 0)] * len(kinds)
        system = None
    else:
        said, system = asked.said, asked.system
        where = [(place.turn, place.offset) for place in asked.stands]
    messages: list[dict[str, Any]] = []
    if system is not None:
        messages.append(
            {"role": "system", "content": _content(system, [], placeholders, part_types, clean)}
        )
    for number, turn in enumerate(said):
        media = [
            (offset, kind) for (at, offset), kind in zip(where, kinds, strict=True) if at == number
        ]
        messages.append(
            {
                "role": turn.role,
                "content": _content(turn.text, media, placeholders, part_types, clean),
            }
        )
    return messages


def in_one_text(messages: Sequence[dict[str, Any]], takes_parts: bool) -> list[dict[str, Any]]:
    """Messages of texts, each as the one text part of a template that takes parts."""
    if not takes_parts:
        return list(messages)
    return [
        {"role": one["role"], "content": [{"type": "text", "text": one["content"]}]}
        for one in messages
    ]


def lost_message(
    rendered: str,
    messages: Sequence[dict[str, Any]],
    placeholders: Mapping[str, str],
    part_types: Mapping[str, str],
) -> int | None:
    """The first message of which something is missing in what a template made, or is moved.

    Templates may pass over roles, trim texts, and put media in front of words.
    """
    marks = {part_types[kind]: mark for kind, mark in placeholders.items()}
    at = 0
    for number, message in enumerate(messages):
        content = message["content"]
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for part in parts:
            piece = marks.get(part["type"]) or part["text"].strip()
            found = rendered.find(piece, at)
            if found < 0:
                return number
            at = found + len(piece)
    return None


def _content(
    text: str,
    media: Sequence[tuple[int, str]],
    placeholders: Mapping[str, str],
    part_types: Mapping[str, str] | None,
    clean: Callable[[str], str],
) -> str | list[dict[str, str]]:
    """A text with the media that stand in it, by the offset that each stands before."""
    cuts = [0, *(offset for offset, _ in media), len(text)]
    texts = [clean(text[start:stop]) for start, stop in pairwise(cuts)]
    if part_types is None:
        pieces = [texts[0]]
        for (offset, kind), after in zip(media, texts[1:], strict=True):
            pieces += [placeholders[kind], "" if offset else "\n", after]
        return "".join(pieces)
    parts = [{"type": "text", "text": texts[0]}] if texts[0] or not media else []
    for (_, kind), after in zip(media, texts[1:], strict=True):
        parts.append({"type": part_types[kind]})
        parts += [{"type": "text", "text": after}] if after else []
    return parts

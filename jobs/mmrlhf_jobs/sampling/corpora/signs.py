"""What a raw row shows of media and answers, in whatever way it writes them.

A row that shows one and gives none is a fault, and no row that has none by nature: else a whole
corpus can be left out without a word because it names its images in a way that nobody reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mmrlhf_jobs.sampling.corpora.media import MEDIA_KINDS, MediaKind

__all__ = ["answer_of", "medium_shown", "part_media", "unread_answer"]

_PART_KINDS: Final[Mapping[str, MediaKind]] = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
}
_NAMES: Final = ("path", "url", "uri", "file", "image", "video")
_MEDIUM: Final = re.compile(
    rf"(?is)^(?:data:(?:image|video)/.*|[^\n]{{1,1000}}\.(?:{'|'.join(MEDIA_KINDS)})(?:[?#]\S*)?)$"
)
_TURNS: Final = frozenset({"conversations", "messages", "texts"})
_TEXTS: Final = frozenset({"question", "answer", "answers", "options", "choices"})
_ANSWERS: Final = ("answer", "answers", "multiple_choice_answer")
_ANSWER_LIKE: Final = re.compile(
    r"(?i)(?:^|_)(?:answers?|responses?|outputs?|solutions?|targets?|labels?|captions?|gt|chosen"
    r"|completions?)(?:_|$)"
)


def part_media(row: Mapping[str, Any]) -> Iterator[tuple[MediaKind, str]]:
    """Media that the parts of a chat name: kind, and the name of the file or its URL."""
    for part in _parts(row):
        kind = _PART_KINDS.get(str(part.get("type")))
        if kind is not None and (name := _name(part, str(part["type"]))) is not None:
            yield kind, name


def medium_shown(row: Mapping[str, Any]) -> str | None:
    """What shows that a row has a medium, for people; None if nothing does."""
    for part in _parts(row):
        if str(part.get("type")) in _PART_KINDS:
            return f"a content part of type {part['type']}"
    for name, value in row.items():
        if name not in _TURNS | _TEXTS and _looks_like_medium(value):
            return f"the field {name[:60]}"
    return None


def answer_of(row: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """The answer in a field of its own: of several, the one that most people gave, then the first.

    VQA writes ``answers`` as a list of texts, or of objects with an ``answer``.
    """
    value = next((row[name] for name in _ANSWERS if row.get(name) not in (None, [], "")), None)
    if not isinstance(value, list):
        return value
    said = [one.get("answer") if isinstance(one, dict) else one for one in value]
    texts = [one for one in said if isinstance(one, str) and one.strip()]
    return Counter(texts).most_common(1)[0][0] if texts else value


def unread_answer(row: Mapping[str, Any]) -> str | None:
    """The field that shows an answer where none was read; None if nothing does."""
    return next(
        (
            name[:60]
            for name, value in row.items()
            if _ANSWER_LIKE.search(name) and isinstance(value, str | list | dict) and value
        ),
        None,
    )


def _parts(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in _TURNS:
        turns = row.get(name)
        for turn in turns if isinstance(turns, list) else ():
            for value in turn.values() if isinstance(turn, dict) else ():
                yield from _parts_in(value)


def _parts_in(content: object) -> Iterator[Mapping[str, Any]]:
    """Parts of a content that is a list, or a list of lists."""
    left: list[Any] = [content] if isinstance(content, list) else []
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += reversed(part)
        elif isinstance(part, dict):
            yield part


def _name(part: Mapping[str, Any], own: str) -> str | None:
    for field in (own, *_NAMES):
        value = part.get(field)
        if isinstance(value, dict):
            value = next((value[one] for one in _NAMES if isinstance(value.get(one), str)), None)
        if isinstance(value, str) and value:
            return value
    return None


def _looks_like_medium(value: object) -> bool:
    if isinstance(value, str):
        return _MEDIUM.match(value.strip()) is not None
    if isinstance(value, list):
        return any(_looks_like_medium(one) for one in value[:8])
    if isinstance(value, dict):
        return value.get("bytes") is not None or any(
            _looks_like_medium(value.get(one)) for one in _NAMES
        )
    return False

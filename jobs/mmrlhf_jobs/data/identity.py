"""Ids that follow from content, so that equal content has equal ids on every machine."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence

__all__ = ["digest_of", "frames_digest", "record_id", "response_id"]


def digest_of(*parts: object) -> bytes:
    """SHA-256 (32 bytes) of values that JSON can hold.

    The values are framed as one JSON array, so that ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def record_id(
    asked: object,
    media_sha256s: Sequence[str],
    *,
    parent_id: str | None = None,
    turn_index: int | None = None,
) -> str:
    """Id of a query: 32 hexadecimal digits.

    The media are part of it, because one question asked about two images is two records, and so
    is their order, because "the first image" depends on it. A text counts after NFC and strip.

    Args:
        asked: The text of the question, or the plain values of a conversation
            (``conversation.as_json``).
        media_sha256s: Digest of each medium, in order.
        parent_id: Id of the row or the conversation that the query was cut from.
        turn_index: Which of its turns the query is.
    """
    if isinstance(asked, str):
        asked = unicodedata.normalize("NFC", asked).strip()
    return digest_of("record", asked, list(media_sha256s), parent_id, turn_index).hex()[:32]


def response_id(record: str, text: str, *, model: str | None = None) -> str:
    """Id of a response within the record of that id: 24 hexadecimal digits."""
    return digest_of("response", record, text, model).hex()[:24]


def frames_digest(frame_sha256s: Sequence[str]) -> str:
    """Digest of a video given by its frames, in order: 64 hexadecimal digits."""
    return digest_of("frames", list(frame_sha256s)).hex()

"""Answers of a server, read from the body of its response."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from mmrlhf_jobs.data.parts import Usage
from mmrlhf_jobs.data.thoughts import split_thought

__all__ = ["Answer", "GarbageError", "foreign_id", "parse_answer"]

_REASONING: Final = ("reasoning_content", "reasoning")
_OUR_IDS: Final = re.compile(r"mmrlhf-[0-9a-f]{12}-\d+")


class GarbageError(ValueError):
    """The body is not what the protocol asks for."""


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        text: The answer, as it came.
        finish_reason: Why it ended: ``stop``, ``length``, ``content_filter`` or another word.
        prompt_tokens: Tokens of the request, as the server counts them.
        completion_tokens: Tokens of the answer, as the server counts them.
        model: The model, as the server calls it.
        verified: Whether the answer carries the id of the very request.
        reasoning: What the model thought before it answered, which is no part of the answer; None
            where it told nothing.
        refused: Whether the server itself tells the text as a refusal.
    """

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    model: str | None = None
    verified: bool = False
    reasoning: str | None = None
    refused: bool = False

    @property
    def usage(self) -> Usage | None:
        """Tokens, as records keep them; None if the server told none."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        return Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the journal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The answer of which :meth:`to_dict` made these values."""
        answer = cls(**values)
        if answer.reasoning is not None:
            return answer
        # Kept by a version that took what a model thinks for what it says.
        text, reasoning = split_thought(answer.text)
        return replace(answer, text=text, reasoning=reasoning)


def parse_answer(body: bytes, headers: Mapping[str, str], *, request_id: str) -> Answer:
    """Read a response body.

    Args:
        body: The body of a response of status 200.
        headers: Its headers.
        request_id: The id that was sent along.

    Raises:
        GarbageError: It is no chat completion with one text.
    """
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise GarbageError(f"no chat completion: {_excerpt(body)}") from error
    # A refusal of newer servers comes apart from the content.
    refusal = choice["message"].get("refusal")
    refused = not text and isinstance(refusal, str) and bool(refusal.strip())
    if refused:
        text = refusal
    reasoning = next(
        (choice["message"][name] for name in _REASONING if choice["message"].get(name)), None
    )
    if isinstance(text, list):
        text, reasoning = _joined(text, reasoning)
    if text is None:
        text = ""
    if isinstance(text, str):
        text, thought = split_thought(text)
        reasoning = reasoning if isinstance(reasoning, str) else thought
    if not isinstance(text, str):
        raise GarbageError(f"the content of the message is no text: {_excerpt(body)}")
    if not _is_utf8(text):
        raise GarbageError(f"the text holds half a character: {_excerpt(body)}")
    usage = content.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Answer(
        text=text,
        finish_reason=_optional(choice.get("finish_reason"), str),
        prompt_tokens=_optional(usage.get("prompt_tokens"), int),
        completion_tokens=_optional(usage.get("completion_tokens"), int),
        model=_optional(content.get("model"), str),
        verified=request_id in _ids(content, headers),
        reasoning=reasoning if isinstance(reasoning, str) else None,
        refused=refused,
    )


def _joined(parts: list[Any], reasoning: object) -> tuple[Any, Any]:
    """The text of a content in parts, and what was thought; the content itself if it is no such.

    Servers of Mistral's reasoning models answer ``[{"type": "thinking", "thinking": [{"type":
    "text", ...}]}, {"type": "text", ...}]``.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "thinking":
            inner = part.get("thinking")
            inner = [{"text": inner}] if isinstance(inner, str) else inner
            thoughts += [str(one.get("text", "")) for one in inner or () if isinstance(one, dict)]
        elif kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            return parts, reasoning
    return "".join(texts), "".join(thoughts) if thoughts else reasoning


def foreign_id(body: bytes, headers: Mapping[str, str], *, request_id: str) -> str | None:
    """The id of another request of ours that a response carries, or None.

    Servers such as vLLM make the id of a completion from the ``X-Request-Id`` of its request;
    gateways give the header back. A response with another request's id is that one's answer.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = _ids(content, headers) if isinstance(content, dict) else set()
    return next(iter(sorted(found - {request_id})), None)


def _ids(content: Mapping[str, Any], headers: Mapping[str, str]) -> set[str]:
    texts = [str(content.get("id")), headers.get("X-Request-Id", "")]
    return {name for text in texts for name in _OUR_IDS.findall(text)}


def _is_utf8(text: str) -> bool:
    """Whether a text can be written; a lone surrogate in JSON, half an emoji, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _optional(value: object, kind: type) -> Any:  # noqa: ANN401 - of that kind, or None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _excerpt(body: bytes) -> str:
    text = body[:200].decode(errors="replace")
    return f"{text!r}{'...' if len(body) > 200 else ''}"

"""Answers of a server, read from the body of its response."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from mmrlhf_jobs.data.parts import Usage

__all__ = ["Answer", "GarbageError", "foreign_id", "parse_answer", "split_reasoning"]

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
    """

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    model: str | None = None
    verified: bool = False
    reasoning: str | None = None

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
        text, reasoning = split_reasoning(answer.text)
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
    if text is None:
        # A refusal of newer servers comes apart from the content.
        text = choice["message"].get("refusal") or ""
    reasoning = next(
        (choice["message"][name] for name in _REASONING if choice["message"].get(name)), None
    )
    if isinstance(text, str):
        text, thought = split_reasoning(text)
        reasoning = reasoning if isinstance(reasoning, str) else thought
    if not isinstance(text, str):
        raise GarbageError(f"the content of the message is no text: {_excerpt(body)}")
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
    )


def split_reasoning(text: str) -> tuple[str, str | None]:
    """A text without what the model thought before, and that; None where there is none.

    Models that reason write ``<think>...</think>`` before the answer, and some leave out the first
    mark, which stands in the prompt (model cards of QwQ and DeepSeek-R1). Servers with a parser for
    it give the two apart already. Where the second mark is missing, all of it is thought: the
    answer was cut off before it began.
    """
    thought, mark, answer = text.rpartition("</think>")
    if mark:
        return answer.strip(), thought.replace("<think>", "").strip()
    if text.lstrip().startswith("<think>"):
        return "", text.lstrip().removeprefix("<think>").strip()
    return text, None


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


def _optional(value: object, kind: type) -> Any:  # noqa: ANN401 - of that kind, or None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _excerpt(body: bytes) -> str:
    text = body[:200].decode(errors="replace")
    return f"{text!r}{'...' if len(body) > 200 else ''}"

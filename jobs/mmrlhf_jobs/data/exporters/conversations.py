"""Formats of conversations: TRL, LLaMA-Factory and ms-swift; see the importers of these names."""

from __future__ import annotations

from typing import Any, Final

from mmrlhf_jobs.data.exporters.given import Given

__all__ = ["write_llama_factory", "write_ms_swift", "write_trl"]

_SPEAKERS: Final = {"user": "human", "assistant": "gpt"}


def write_trl(given: Given) -> list[dict[str, Any]]:
    """Conversational rows with explicit prompt; images are paths, contents lists of parts.

    Raises:
        RowFault: There is a video, which TRL's format has not.
    """
    if given.videos:
        raise given.fault("media", "TRL's format has images alone", "unsupported")
    prompt = given.messages(parts=bool(given.images))
    media = {"images": given.images} if given.images else {}

    def said(text: str) -> list[dict[str, Any]]:
        content: Any = [{"type": "text", "text": text}] if given.images else text
        return [{"role": "assistant", "content": content}]

    return [
        {"prompt": prompt, "chosen": said(chosen.text), "rejected": said(rejected.text), **media}
        for chosen, rejected in given.pairs
    ]


def write_llama_factory(given: Given) -> list[dict[str, Any]]:
    """Rows of the sharegpt form."""
    messages = given.messages()
    system = {}
    if messages[0]["role"] == "system":
        system = {"system": messages.pop(0)["content"]}
    said = [{"from": _SPEAKERS[one["role"]], "value": one["content"]} for one in messages]
    return [
        {
            "conversations": said,
            **system,
            "chosen": {"from": "gpt", "value": chosen.text},
            "rejected": {"from": "gpt", "value": rejected.text},
            **_media(given),
        }
        for chosen, rejected in given.pairs
    ]


def write_ms_swift(given: Given) -> list[dict[str, Any]]:
    """Rows of messages whose last one is the chosen answer."""
    messages = given.messages()
    return [
        {
            "messages": [*messages, {"role": "assistant", "content": chosen.text}],
            "rejected_response": rejected.text,
            **_media(given),
        }
        for chosen, rejected in given.pairs
    ]


def _media(given: Given) -> dict[str, Any]:
    named: dict[str, Any] = {"images": given.images, "videos": given.videos}
    return {name: value for name, value in named.items() if value}

"""What a server is asked, and the key under which its answer is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from mmrlhf_api.model_servers import SamplingSettings
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.parts import GenerationParams

__all__ = ["ChatRequest", "ImagePart", "Message", "Part", "Sampling", "TextPart"]


@dataclass(frozen=True)
class TextPart:
    """A piece of text."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """An image file.

    Attributes:
        uri: Where it is; not part of the key.
        sha256: Digest of its content.
    """

    uri: str
    sha256: str


Part: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True)
class Sampling:
    """How the server is to choose tokens; what is None is left to the server."""

    max_tokens: int = 1024
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None

    @classmethod
    def of(cls, settings: SamplingSettings, sample: int = 0) -> Sampling:
        """For one of several samples of a question."""
        return cls(
            max_tokens=settings.max_tokens,
            temperature=None if settings.server_temperature else settings.temperature,
            top_p=settings.top_p,
            seed=None if settings.seed is None else settings.seed + sample,
        )

    def wire(self) -> dict[str, Any]:
        """Fields of the request body."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def params(self) -> GenerationParams:
        """The same, as records keep it."""
        return GenerationParams(**asdict(self))


@dataclass(frozen=True)
class Message:
    """What was said before the user's turn.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
        parts: Images and text, in order.
    """

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ChatRequest:
    """One user turn for a chat model, with what was said before it.

    Attributes:
        model: Name of the model at the server.
        revision: Which state of the model this is, as far as the user can tell; answers of another
            revision are not used again.
        parts: Images and text, in order.
        sampling: How to choose tokens.
        sample: Which of several answers to the same question this is, from 0.
        before: System text and earlier turns.
    """

    model: str
    parts: tuple[Part, ...]
    sampling: Sampling
    revision: str | None = None
    sample: int = 0
    before: tuple[Message, ...] = ()

    @property
    def said(self) -> tuple[Message, ...]:
        """All that is said, the user's turn last."""
        return (*self.before, Message("user", self.parts))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """All images, in order."""
        return tuple(part for one in self.said for part in one.parts if isinstance(part, ImagePart))

    @property
    def key(self) -> str:
        """Digest of all that the answer depends on, the media by their content."""
        before = [[one.role, _content_key(one.parts)] for one in self.before]
        return digest_of(
            "chat",
            self.model,
            self.revision,
            _content_key(self.parts),
            asdict(self.sampling),
            self.sample,
            *([before] if before else []),
        ).hex()

    def wire(self, images: dict[str, str]) -> dict[str, Any]:
        """The request body.

        Args:
            images: Data URL of each image by its digest.
        """
        return {
            "model": self.model,
            "messages": [
                {"role": one.role, "content": _wire_content(one.parts, images)} for one in self.said
            ],
            **self.sampling.wire(),
        }


def _content_key(parts: tuple[Part, ...]) -> list[list[str]]:
    return [
        ["image", part.sha256] if isinstance(part, ImagePart) else ["text", part.text]
        for part in parts
    ]


def _wire_content(parts: tuple[Part, ...], images: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON
    # Servers of text models take no parts.
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [
        {"type": "image_url", "image_url": {"url": images[part.sha256]}}
        if isinstance(part, ImagePart)
        else {"type": "text", "text": part.text}
        for part in parts
    ]

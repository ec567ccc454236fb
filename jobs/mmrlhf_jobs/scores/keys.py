"""What a side-car's values belong to: the key of a value, and the identity of the whole file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

from mmrlhf_jobs.data.conversation import Asked, as_json
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import SidecarError

__all__ = ["KEY_BYTES", "SidecarIdentity", "content_key", "record_keys"]

KEY_BYTES = 32
"""Length of a key: a raw SHA-256."""


def content_key(asked: Asked, media_sha256s: Sequence[str], response_text: str) -> bytes:
    """Key of one response's value: 32 bytes that follow from all that the value depends on.

    The texts count exactly as they are, because the tokens do.

    Args:
        asked: The question, or the conversation.
        media_sha256s: Digest of each medium, in order (``RankedResponse.media_sha256s``).
        response_text: The response.
    """
    return digest_of("value", as_json(asked), list(media_sha256s), response_text)


def record_keys(record: RankedResponse) -> list[bytes]:
    """Keys of a record's responses, in their order."""
    media = record.media_sha256s
    return [content_key(record.asked, media, one.text) for one in record.responses]


@dataclass(frozen=True)
class SidecarIdentity:
    """What all values of a side-car were computed with.

    Attributes:
        kind: Scores of a reward model, or summed log-probabilities of a reference policy (nats).
        template: Digest of the chat template and tokeniser.
        model: Digest or revision of the model.
        image_settings: Digest of how images become pixels.
        precision: Number format, attention and engine, in words; files of older versions lack it.
    """

    kind: Literal["reward", "reference"]
    template: str | None = None
    model: str | None = None
    image_settings: str | None = None
    precision: str | None = None

    def check(self, found: SidecarIdentity, file: str) -> None:
        """Compare with what a file says.

        Args:
            found: Identity in the file.
            file: URI of the file.

        Raises:
            SidecarError: A field that is set here has another value there. A field that is None
                here is not asked for.
        """
        theirs = asdict(found)
        for name, expected in asdict(self).items():
            if expected is not None and theirs[name] != expected:
                raise SidecarError(
                    f"{file}: {name} is {theirs[name]!r}, but this job needs {expected!r}; its"
                    " values would be wrong here: compute the side-car again with this job's"
                    " model and settings, or name another one"
                )

    @classmethod
    def from_json(cls, content: object, file: str) -> SidecarIdentity:
        """Read the identity that a file carries.

        Raises:
            SidecarError: It is not an identity of this version.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or {*content, "precision"} != names:
            raise SidecarError(f"{file}: its identity must have exactly the fields {sorted(names)}")
        if content["kind"] not in ("reward", "reference"):
            raise SidecarError(f"{file}: kind is {content['kind']!r}; expected reward or reference")
        return cls(**content)

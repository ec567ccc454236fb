"""The responses of a record, and what holds for question, media and responses of any record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator

from mmrlhf_jobs.data.parts import (
    Critique,
    Items,
    Media,
    ModelOrigin,
    Part,
    Reasons,
    Scores,
    Text,
    violated,
)

__all__ = ["Duplicate", "Id", "Response", "check_media", "check_responses"]

Id = Annotated[str, StringConstraints(pattern=r"\S", max_length=256)]
"""Id of a record or a response."""


class Duplicate(Part):
    """Another origin of a response's text."""

    response_id: Id
    model: ModelOrigin | None = None


class Response(Part):
    """One answer to the query; no two of a record have the same text."""

    response_id: Id
    text: Text
    origin: Literal["model", "constructed_positive", "constructed_negative"] = "model"
    """Constructed responses break ties of all-poor or all-good answers (paper 2.3.1)."""
    model: ModelOrigin | None = None
    derived_from: str | None = None
    """The response that a constructed negative was made from by introducing errors."""
    duplicates: Items[Duplicate] = ()
    """Further models that gave the same text; it is ranked and trained on once."""
    scores: Scores | None = None
    reasons: Reasons | None = None
    critique: Critique | None = None

    @model_validator(mode="after")
    def _fits_its_origin(self) -> Response:
        if self.origin != "model" and self.model is not None:
            raise violated("model", f"a response of origin {self.origin} was not made by a model")
        if self.origin == "constructed_negative" and self.derived_from is None:
            raise violated("derived_from", "name the response that the negative was made from")
        return self


def check_media(domain: str, kind: str | None, media: Sequence[Media]) -> None:
    """Check that media and type are those of the domain.

    Raises:
        PydanticCustomError: They are not; for validators.
    """
    kinds = [medium.kind for medium in media]
    if domain == "text" and kinds:
        raise violated(
            "domain", "a record of domain text holds media; set domain to image or video"
        )
    if domain == "image" and "video" in kinds:
        raise violated("domain", "a record of domain image holds a video; set domain to video")
    if domain == "video" and "video" not in kinds:
        raise violated("media", "a record of domain video needs a medium of kind video")
    if kind is None and domain != "safety":
        raise violated("type", "only a record of domain safety may leave type null")


def check_responses(responses: Sequence[Response]) -> None:
    """Check that ids and texts are distinct, and that origins fit each other.

    Raises:
        PydanticCustomError: They are not; for validators.
    """
    ids: dict[str, str] = {}
    texts: dict[str, str] = {}
    for position, response in enumerate(responses):
        place = f"responses[{position}]"
        for name in (
            response.response_id,
            *(other.response_id for other in response.duplicates),
        ):
            if name in ids:
                raise violated(f"{place}.response_id", f"{name!r} is used twice in the record")
            ids[name] = place
        first = texts.setdefault(response.text.strip(), response.response_id)
        if first != response.response_id:
            raise violated(
                f"{place}.text",
                f"same text as response {first!r}; list it in that one's duplicates",
            )
    for position, response in enumerate(responses):
        origin = response.derived_from
        if origin is not None and ids.get(origin) in (None, f"responses[{position}]"):
            raise violated(
                f"responses[{position}].derived_from", f"there is no other response {origin!r}"
            )
    for kind in ("constructed_positive", "constructed_negative"):
        if sum(response.origin == kind for response in responses) > 1:
            raise violated("responses", f"at most one response may be of origin {kind}")

"""What model servers are asked: responses to questions (paper 2.2), critiques (paper Table 7)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import Fraction, PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = ["CritiquesPart", "CritiquesSettings", "ResponsesPart", "ResponsesSettings"]


class ResponsesSettings(MediaFolders):
    """Which questions to ask."""

    records: Annotated[Uri, POSITIONAL]
    """Query/v1 or RankedResponse/v1: a file, a folder or a pattern."""
    samples: PositiveInt = 1
    """Responses of each model."""
    max_frames: PositiveInt = 32
    """Most frames of a video, evenly spread."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no queries; they are left out."""
    max_failed_fraction: Fraction = 0.0
    """Share of the questions that may stay without a usable answer."""


class ResponsesPart(ResponsesSettings):
    """Asks models for responses to questions."""

    endpoints: Annotated[
        tuple[EndpointSettings, ...],
        Strict(strict=False),
        MinLen(1),
        MaxLen(16),
        ListOf("map", "name"),
    ]
    """Servers to ask."""


class CritiquesSettings(ApiModel):
    """Whose comments to expand."""

    records: Annotated[Uri, POSITIONAL]
    """RankedResponse/v1 records: a file, a folder or a pattern."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no records; they are left out."""
    max_failed_fraction: Fraction = 0.0
    """Share of the questions that may stay without a usable answer."""


class CritiquesPart(CritiquesSettings):
    """Expands human comments into critiques."""

    endpoint: EndpointSettings
    """Server to ask."""

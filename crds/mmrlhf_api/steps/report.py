"""All that was measured of some models, as one page (paper Tables 2 and 3)."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import DnsLabel, Word
from mmrlhf_api.uris import Uri

__all__ = ["ModelFigures", "ReportPart", "ReportSettings"]


class ReportSettings(ApiModel):
    """How it is shown."""

    title: Word = "Evaluation"
    """Title of the page."""


class ModelFigures(ApiModel):
    """What was measured of one model."""

    name: DnsLabel
    """Name of the model in the report."""
    safety: Uri | None = None
    """Its figures of step safety, safety.json."""
    understanding: Annotated[
        tuple[Uri, ...], Strict(strict=False), MaxLen(64), ListOf("atomic")
    ] = ()
    """Its results of lmms-eval: of step lmms-eval, or *_results.json."""


class ReportPart(ReportSettings):
    """Puts figures of several models side by side."""

    models: Annotated[
        tuple[ModelFigures, ...], Strict(strict=False), MinLen(1), MaxLen(8), ListOf("map", "name")
    ]
    """Models by name, in the order of the page."""
    comparison: Uri | None = None
    """Figures of step compare, comparison.json."""

"""Queries out to an annotation tool, and what people answered back in (paper 2.3)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import Fraction, PositiveInt, Seed, Word
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = [
    "AnnotationExportPart",
    "AnnotationExportSettings",
    "AnnotationImportPart",
    "AnnotationImportSettings",
    "Tool",
]

Tool = Literal["label-studio", "argilla"]
"""An annotation tool."""


class AnnotationExportSettings(MediaFolders):
    """What annotators are to see, and how."""

    tool: Annotated[Tool, POSITIONAL]
    """The annotation tool."""
    queries: Annotated[Uri, POSITIONAL]
    """Query/v1 with responses: a file, a folder or a pattern."""
    seed: Seed = 0
    """Seed of the order of the responses."""
    media_url: Word | None = None
    """The folder of the media, as annotators' browsers see it."""
    embed_media: bool = False
    """Put the images into the tasks instead."""
    max_frames: PositiveInt = 32
    """Most frames of a video, evenly spread."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid; they are left out."""


class AnnotationExportPart(AnnotationExportSettings):
    """Writes queries with responses for an annotation tool."""


class AnnotationImportSettings(ApiModel):
    """What people answered, and how to read it."""

    tool: Annotated[Tool, POSITIONAL]
    """The annotation tool."""
    answers: Annotated[Uri, POSITIONAL]
    """File that the tool exported, or the folder of Label Studio's target storage."""
    key: Annotated[Uri, POSITIONAL]
    """File that the export wrote."""
    reviewers: Annotated[
        tuple[Word, ...], Strict(strict=False), MaxLen(256), ListOf("atomic"), Flag("--reviewer")
    ] = ()
    """Id of a reviewer in the tool; repeatable."""
    tie_policy: Literal["paper", "guideline"] = "paper"
    """What a tie asks for."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the answers that may break rules and are left out."""


class AnnotationImportPart(AnnotationImportSettings):
    """Reads the answers of an annotation tool as ranked records."""

"""The data that a job reads."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import Fraction, PositiveFraction
from mmrlhf_api.uris import Uri

__all__ = ["DataFormat", "DataSource", "PairMode", "PreferenceData"]

DataFormat = Literal["auto", "jsonl", "parquet"]
PairMode = Literal["all", "hardest", "extremes"]


class DataSource(ApiModel):
    """Records in the RankedResponse/v1 schema."""

    uri: Uri
    """A file or a folder of files: a path, file:// or s3://."""
    format: DataFormat = "auto"
    """Format of the files; auto goes by their names (.jsonl, .parquet)."""
    media_root: Uri | None = None
    """Where relative media paths start; without it, the folder of the file that names them."""
    allowed_media_roots: (
        Annotated[tuple[Uri, ...], Strict(strict=False), MaxLen(64), ListOf("atomic")] | None
    ) = None
    """Other folders that media may be in. Absolute media URIs, and links, may lead below mediaRoot
    and these folders alone."""
    fraction: PositiveFraction = 1.0
    """Part of the records to use, above 0 and at most 1, sampled uniformly by training.seed. The
    paper's ablations use 0.2 (paper 5.1)."""


class PreferenceData(ApiModel):
    """Ranked responses to train on and to evaluate with."""

    train: DataSource
    """Records to train on."""
    evaluation: DataSource | None = None
    """Records held out for evaluation."""
    max_invalid_fraction: Fraction = 0.0
    """Part of the records, 0 to 1, that may be invalid and are then skipped and reported; above it
    the job fails before a model is loaded."""

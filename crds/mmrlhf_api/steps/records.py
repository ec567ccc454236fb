"""Public formats as records, and records as public formats."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from annotated_types import MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.scalars import Fraction, PositiveInt, Word
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.media import MediaFolders
from mmrlhf_api.uris import Uri

__all__ = [
    "QUERY_FORMATS",
    "DataFormat",
    "ExportPart",
    "ExportSettings",
    "ImportFormat",
    "ImportPart",
    "ImportSettings",
]

DataFormat = Literal[
    "mm-rlhf",
    "dpo-pairs",
    "reward-bench",
    "trl",
    "llama-factory",
    "ms-swift",
    "rlhf-v",
    "rlaif-v",
    "llava-rlhf",
    "vlfeedback",
    "vl-reward-bench",
    "multimodal-reward-bench",
    "vlguard",
]
"""A public format; docs/reference/data-formats.md says what its rows hold."""

ImportFormat = Literal[DataFormat, "safety-bench"]
"""Those, and one that is read alone."""

QUERY_FORMATS: Final = frozenset({"vlguard", "safety-bench"})
"""Those whose rows become queries, as nobody has ranked responses in them."""


class ImportSettings(ApiModel):
    """What to read as what."""

    format: Annotated[ImportFormat, POSITIONAL]
    """Format of the source."""
    source: Annotated[Uri, POSITIONAL]
    """File of pairs or rankings, or a folder of such files."""
    media_root: Uri | None = None
    """Folder of the media; without it, that of the source."""
    incomplete: Literal["fail", "infer", "exact"] = "fail"
    """Where pairs leave ranks open: fail, infer completes them, exact keeps the given pairs."""
    mapping: Annotated[
        tuple[Word, ...], Strict(strict=False), MaxLen(64), ListOf("atomic"), Flag("--map")
    ] = ()
    """A field that the source calls otherwise, THEIRS=OURS; repeatable."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be at fault and are left out."""
    frames: PositiveInt = 32
    """Most frames of a video file, evenly spread over it."""


class ImportPart(ImportSettings):
    """Makes records of a public format, with copies of all media that they name."""


class ExportSettings(MediaFolders):
    """What to write as what."""

    format: Annotated[DataFormat, POSITIONAL]
    """Format to write."""
    records: Annotated[Uri, POSITIONAL]
    """RankedResponse records, vlguard: queries; a file, a folder or a pattern."""
    pairs: Literal["all", "hardest", "extremes"] = "all"
    """Which pairs of a record to write, in a format of pairs."""
    absolute_media: bool = False
    """Write whole paths of media; without it, paths are relative to the folder of the media."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no records, or do not fit the format; they are left out."""


class ExportPart(ExportSettings):
    """Writes records as a public format."""

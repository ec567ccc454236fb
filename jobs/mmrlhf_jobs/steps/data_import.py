"""Public formats as records."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Annotated, Final, Literal, Self

from pydantic import model_validator

from mmrlhf_api.models import TemplateOwner
from mmrlhf_api.scalars import PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.records import ImportPart, ImportSettings
from mmrlhf_jobs.data.importers.importing import (
    Found,
    ImportOptions,
    import_rows,
    look_at_rows,
    read_mapping,
)
from mmrlhf_jobs.data.importers.media_files import MediaFiles, Still
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.importers.registry import READERS, tell_formats
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.steps.preview import preview_records
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.uris import parent_uri

__all__ = ["STEP", "ImportSpec"]

_QUALITY: Final = 95
"""Of frames as JPEG files, 1 to 100."""


class ImportSpec(StepSpec, ImportSettings):
    """What to read as what."""

    step: Literal["import"] = "import"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl or *.parquet; vlguard, safety-bench: *.jsonl."""
    copy_media: Place | None = None
    """Folder beside the file to write; all media are copied there, by the names of their digests,
    and records name them there. Without it they stay where they are, and what rows bring or videos
    hold is written below the folder of the media."""
    dry_run: bool = False
    """Show what the first rows become, and write nothing."""
    rows: PositiveInt = 3
    """Rows to show."""
    model: Place | None = None
    """Folder of a model whose chat template is to show them."""
    chat_template: TemplateOwner = "processor"
    """Whose template that is, where the model's processor and tokenizer differ."""

    @model_validator(mode="after")
    def _stands_beside(self) -> Self:
        if self.copy_media is not None and parent_uri(self.copy_media) != parent_uri(self.out):
            raise ValueError("copyMedia must be a folder beside the file to write")
        return self


def _run(spec: ImportSpec, context: StepContext) -> Outcome:
    """Convert a file, or show what would become of it.

    Raises:
        InputError: Rows are wrong, name missing media, or contradict others.
    """
    context.tell("import", f"reading {spec.source} as {spec.format}")
    rows = count(1)

    def read(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[Found]:
        context.count(next(rows))
        return READERS[spec.format](row, media, report)

    options = ImportOptions(
        media_root=spec.media_root,
        copy_media=spec.copy_media,
        incomplete=spec.incomplete,
        mapping=read_mapping(spec.mapping),
        max_invalid_fraction=spec.max_invalid_fraction,
        storage=context.storage,
        video_frames=partial(_stills, most=spec.frames),
    )
    hint = partial(tell_formats, spec.source, spec.format, context.storage)
    if spec.dry_run:
        found = look_at_rows(read, spec.source, options, rows=spec.rows, hint=hint)
        sys.stdout.write(
            preview_records(found, spec.model, whose=spec.chat_template, tell=context.note)
        )
        sys.stdout.flush()
        return Outcome(spec.source, {"shown": len(found)})
    report = import_rows(read, spec.source, spec.out, options, hint=hint)
    context.count(report.rows, report.rows)
    if spec.copy_media is not None:
        report.media_root = context.shown_at(parent_uri(spec.copy_media))
    context.show(report.to_dict())
    return Outcome(spec.out, report.to_dict())


def _stills(content: bytes, most: int) -> list[Still]:
    """Frames of a video file as JPEG.

    Raises:
        DataError: It is no video that can be decoded.
    """
    from mmrlhf_jobs.sampling.corpora.media import DroppedMedia
    from mmrlhf_jobs.sampling.images.videos import spread_frames

    try:
        frames = spread_frames(content, most)
    except DroppedMedia as error:
        raise DataError(f"the video file {error.message}", fault=error.reason) from error
    stills = []
    for frame in frames:
        file = io.BytesIO()
        frame.pixels.save(file, "JPEG", quality=_QUALITY)
        stills.append(Still(file.getvalue(), frame.pts_ms))
    return stills


def _of_job(part: ImportPart, place: JobPlace) -> ImportSpec:
    return ImportSpec(
        **place.settings(ImportSettings, part),
        out=place.at("records.jsonl"),
        copy_media=place.at("media"),
    )


STEP = Step("Convert a public format to records.", ImportSpec, _run, of_job=_of_job)

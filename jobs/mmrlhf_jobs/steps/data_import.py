"""Public formats as records."""

from __future__ import annotations

import io
import sys
from functools import partial
from typing import Annotated, Final, Literal

from pydantic import Strict

from mmrlhf_api.models import TemplateOwner
from mmrlhf_api.scalars import Fraction, PositiveInt
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.data.importers.importing import (
    ImportOptions,
    import_rows,
    look_at_rows,
    read_mapping,
)
from mmrlhf_jobs.data.importers.media_files import Still
from mmrlhf_jobs.data.importers.registry import READERS, tell_formats
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.steps.data_export import ExportFormat
from mmrlhf_jobs.steps.preview import preview_records
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "ImportSpec"]

_QUALITY: Final = 95
"""Of frames as JPEG files, 1 to 100."""


class ImportSpec(StepSpec):
    """What to read as what."""

    step: Literal["import"] = "import"
    """Name of the step."""
    format: Annotated[ExportFormat, POSITIONAL]
    """Format of the source."""
    source: Annotated[Place, POSITIONAL]
    """File of pairs or rankings, or a folder of such files."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl or *.parquet; vlguard: *.jsonl."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the source."""
    incomplete: Literal["fail", "infer", "exact"] = "fail"
    """Where pairs leave ranks open: fail, infer completes them, exact keeps the given pairs."""
    mapping: Annotated[tuple[Place, ...], Strict(strict=False), Flag("--map")] = ()
    """A field that the source calls otherwise, THEIRS=OURS; repeatable."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be at fault and are left out."""
    frames: PositiveInt = 32
    """Most frames of a video file, evenly spread over it."""
    dry_run: bool = False
    """Show what the first rows become, and write nothing."""
    rows: PositiveInt = 3
    """Rows to show."""
    model: Place | None = None
    """Folder of a model whose chat template is to show them."""
    chat_template: TemplateOwner = "processor"
    """Whose template that is, where the model's processor and tokenizer differ."""


def _run(spec: ImportSpec, context: StepContext) -> Outcome:
    """Convert a file, or show what would become of it.

    Raises:
        InputError: Rows are wrong, name missing media, or contradict others.
    """
    context.tell("import", f"reading {spec.source} as {spec.format}")
    read = READERS[spec.format]
    options = ImportOptions(
        media_root=spec.media_root,
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


STEP = Step("Convert a public format to records.", ImportSpec, _run)

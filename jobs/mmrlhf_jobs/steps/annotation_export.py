"""Queries with responses out to an annotation tool."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Strict

from mmrlhf_api.scalars import Fraction, PositiveInt, Seed
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.annotation.argilla.export import export_argilla
from mmrlhf_jobs.annotation.argilla.settings import MOST_RESPONSES
from mmrlhf_jobs.annotation.label_studio.export import export_label_studio
from mmrlhf_jobs.annotation.media_links import MediaLinks
from mmrlhf_jobs.annotation.tasks import LETTERS, ExportReport, make_tasks, write_key
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "AnnotationExportSpec", "Tool"]

Tool = Literal["label-studio", "argilla"]
"""An annotation tool."""

_EXPORTERS: Final = {
    "label-studio": (export_label_studio, len(LETTERS)),
    "argilla": (export_argilla, MOST_RESPONSES),
}
"""What writes the files of a tool, and how many responses it can have ranked together."""


class AnnotationExportSpec(StepSpec):
    """What annotators are to see, and how."""

    step: Literal["annotate-export"] = "annotate-export"
    """Name of the step."""
    tool: Annotated[Tool, POSITIONAL]
    """The annotation tool."""
    queries: Annotated[Place, POSITIONAL]
    """Query/v1 with responses: a file, a folder or a pattern."""
    folder: Annotated[Place, POSITIONAL]
    """Where the files for the tool are written."""
    key: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl, that leads back to responses; not for annotators."""
    seed: Seed = 0
    """Seed of the order of the responses."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the queries."""
    allowed_media_roots: Annotated[
        tuple[Place, ...], Strict(strict=False), Flag("--allowed-media-root")
    ] = ()
    """Another folder that media may be in; repeatable."""
    media_url: Place | None = None
    """The same folder, as annotators' browsers see it."""
    embed_media: bool = False
    """Put the images into the tasks instead."""
    max_frames: PositiveInt = 32
    """Most frames of a video, evenly spread."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be invalid; they are left out."""


def _run(spec: AnnotationExportSpec, context: StepContext) -> Outcome:
    """Write tasks and key.

    Raises:
        InputError: The queries or their media are wrong, or annotators could not open the media.
    """
    source = Source(
        spec.queries,
        media_root=spec.media_root,
        storage=context.storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    report = ExportReport(key=spec.key)
    context.tell("export", f"writing tasks for {spec.tool} to {spec.folder}")
    links = MediaLinks(
        folders=source.media_folders(),
        url=spec.media_url,
        embed=spec.embed_media,
        max_frames=spec.max_frames,
        storage=context.storage,
    )
    export, most_responses = _EXPORTERS[spec.tool]
    tasks = make_tasks(
        lambda faults: stream_queries(source, faults),
        report,
        seed=spec.seed,
        check=links.check,
        most_responses=most_responses,
        max_invalid_fraction=spec.max_invalid_fraction,
    )
    exported = export(tasks, spec.folder, links, report, seed=spec.seed, storage=context.storage)
    write_key(exported, spec.key, storage=context.storage)
    context.show(report.to_dict())
    return Outcome(spec.folder, report.to_dict())


STEP = Step("Write queries with responses for an annotation tool.", AnnotationExportSpec, _run)

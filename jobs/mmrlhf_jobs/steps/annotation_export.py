"""Queries with responses out to an annotation tool."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from mmrlhf_api.steps.annotation import AnnotationExportPart, AnnotationExportSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.annotation.argilla.export import export_argilla
from mmrlhf_jobs.annotation.argilla.settings import MOST_RESPONSES
from mmrlhf_jobs.annotation.label_studio.export import export_label_studio
from mmrlhf_jobs.annotation.media_links import MediaLinks
from mmrlhf_jobs.annotation.tasks import LETTERS, ExportReport, make_tasks, write_key
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "AnnotationExportSpec"]

_EXPORTERS: Final = {
    "label-studio": (export_label_studio, len(LETTERS)),
    "argilla": (export_argilla, MOST_RESPONSES),
}
"""What writes the files of a tool, and how many responses it can have ranked together."""


class AnnotationExportSpec(StepSpec, AnnotationExportSettings):
    """What annotators are to see, and how."""

    step: Literal["annotate-export"] = "annotate-export"
    """Name of the step."""
    folder: Annotated[Place, POSITIONAL]
    """Where the files for the tool are written."""
    key: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl, that leads back to responses; not for annotators."""


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
    report = ExportReport(key=context.shown_at(spec.key))
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
    report.files = tuple(map(context.shown_at, report.files))
    context.show(report.to_dict())
    return Outcome(spec.folder, report.to_dict())


def _of_job(part: AnnotationExportPart, place: JobPlace) -> AnnotationExportSpec:
    return AnnotationExportSpec(
        **place.settings(AnnotationExportSettings, part),
        folder=place.at("tasks"),
        key=place.at("key.jsonl"),
    )


STEP = Step(
    "Write queries with responses for an annotation tool.",
    AnnotationExportSpec,
    _run,
    of_job=_of_job,
)

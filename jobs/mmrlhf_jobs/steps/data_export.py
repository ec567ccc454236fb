"""Records as a public format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_api.steps.records import ExportPart, ExportSettings
from mmrlhf_jobs.data.exporters.exporting import ExportReport, export_records
from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.exporters.vlguard import export_vlguard
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "ExportSpec"]

_DATASET_INFO: Final[dict[str, Any]] = {
    "formatting": "sharegpt",
    "ranking": True,
    "columns": {
        "messages": "conversations",
        "system": "system",
        "chosen": "chosen",
        "rejected": "rejected",
        "images": "images",
        "videos": "videos",
    },
}


class ExportSpec(StepSpec, ExportSettings):
    """What to write as what."""

    step: Literal["export"] = "export"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl for JSON lines or *.json for a JSON array."""


def _run(spec: ExportSpec, context: StepContext) -> Outcome:
    """Write records.

    Raises:
        InputError: A record is wrong, or the format cannot hold it.
    """
    context.tell("export", f"writing {spec.records} as {spec.format}")
    source = Source(
        spec.records,
        media_root=spec.media_root,
        storage=context.storage,
        allowed_media_roots=spec.allowed_media_roots,
    )
    export: Callable[..., ExportReport]
    if spec.format == "vlguard":
        export = export_vlguard
    else:
        export = partial(export_records, WRITERS[spec.format], pairs=spec.pairs)
    report = export(
        source,
        spec.out,
        absolute_media=spec.absolute_media,
        max_invalid_fraction=spec.max_invalid_fraction,
    ).to_dict()
    if spec.format == "llama-factory":
        name = spec.out.rpartition("/")[2]
        report["dataset_info"] = {name.rpartition(".")[0]: {"file_name": name, **_DATASET_INFO}}
    context.show(report)
    return Outcome(spec.out, report)


def _of_job(part: ExportPart, place: JobPlace) -> ExportSpec:
    return ExportSpec(**place.settings(ExportSettings, part), out=place.at("export.jsonl"))


STEP = Step("Convert records to a public format.", ExportSpec, _run, of_job=_of_job)

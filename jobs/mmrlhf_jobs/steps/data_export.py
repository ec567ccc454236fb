"""Records as a public format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Strict

from mmrlhf_api.scalars import Fraction
from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_jobs.data.exporters.exporting import ExportReport, export_records
from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.exporters.vlguard import export_vlguard
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "ExportFormat", "ExportSpec"]

ExportFormat = Literal[
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


class ExportSpec(StepSpec):
    """What to write as what."""

    step: Literal["export"] = "export"
    """Name of the step."""
    format: Annotated[ExportFormat, POSITIONAL]
    """Format to write."""
    records: Annotated[Place, POSITIONAL]
    """RankedResponse records, vlguard: queries; a file, a folder or a pattern."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl for JSON lines or *.json for a JSON array."""
    pairs: Literal["all", "hardest", "extremes"] = "all"
    """Which pairs of a record to write, in a format of pairs."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the records."""
    allowed_media_roots: Annotated[
        tuple[Place, ...], Strict(strict=False), Flag("--allowed-media-root")
    ] = ()
    """Another folder that media may be in; repeatable."""
    absolute_media: bool = False
    """Write whole paths of media; without it, paths are relative to the folder of the media."""
    max_invalid_fraction: Fraction = 0.0
    """Share of the rows that may be no records, or do not fit the format; they are left out."""


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


STEP = Step("Convert records to a public format.", ExportSpec, _run)

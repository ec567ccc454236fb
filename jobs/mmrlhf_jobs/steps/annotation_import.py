"""Answers of an annotation tool back, as ranked records."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from mmrlhf_api.steps.annotation import AnnotationImportPart, AnnotationImportSettings
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.annotation.argilla.answers import read_argilla
from mmrlhf_jobs.annotation.importing import ImportOptions, import_answers
from mmrlhf_jobs.annotation.label_studio.answers import read_label_studio
from mmrlhf_jobs.annotation.tasks import read_key
from mmrlhf_jobs.data.queries import write_queries
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext

__all__ = ["STEP", "AnnotationImportSpec"]

_READERS: Final = {"label-studio": read_label_studio, "argilla": read_argilla}


class AnnotationImportSpec(StepSpec, AnnotationImportSettings):
    """What people answered, and how to read it."""

    step: Literal["annotate-import"] = "annotate-import"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl or *.parquet."""
    unresolved: Place | None = None
    """File for queries to annotate again, *.jsonl."""


def _run(spec: AnnotationImportSpec, context: StepContext) -> Outcome:
    """Write ranked records.

    Raises:
        InputError: The answers do not belong to the key, or break rules.
    """
    context.tell("import", f"reading the answers of {spec.tool}")
    imported = import_answers(
        read_key(spec.key, storage=context.storage),
        _READERS[spec.tool](spec.answers, storage=context.storage),
        ImportOptions(
            reviewers=frozenset(spec.reviewers),
            tie_policy=spec.tie_policy,
            max_invalid_fraction=spec.max_invalid_fraction,
        ),
    )
    write_records(imported.records, spec.out, storage=context.storage)
    if spec.unresolved:
        write_queries(imported.unresolved, spec.unresolved, storage=context.storage)
    report = imported.report.to_dict()
    context.show(report)
    return Outcome(spec.out, report)


def _of_job(part: AnnotationImportPart, place: JobPlace) -> AnnotationImportSpec:
    return AnnotationImportSpec(
        **place.settings(AnnotationImportSettings, part),
        out=place.at("records.jsonl"),
        unresolved=place.at("unresolved.jsonl"),
    )


STEP = Step(
    "Read the answers of an annotation tool as ranked records.",
    AnnotationImportSpec,
    _run,
    of_job=_of_job,
)

"""All that was measured of some models: one file of figures, one page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Strict

from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.report import ReportPart, ReportSettings
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.evaluation.report.page import render_page
from mmrlhf_jobs.evaluation.report.sources import (
    EvaluationReport,
    MeasuredModel,
    read_figures,
    read_understanding,
)
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import new_file, write_json

__all__ = ["STEP", "ReportSpec"]

Named = Annotated[tuple[Place, ...], Strict(strict=False)]


class ReportSpec(StepSpec, ReportSettings):
    """What to put side by side."""

    step: Literal["report"] = "report"
    """Name of the step."""
    out: Annotated[Place, POSITIONAL]
    """Figures to write, *.json."""
    safety: Named = ()
    """Figures of step safety of a model, NAME=URI; repeatable, one a model."""
    understanding: Named = ()
    """Results of lmms-eval of a model, NAME=URI; repeatable, several a model."""
    comparison: Place | None = None
    """Figures of step compare."""
    html_out: Annotated[Place | None, Flag("--html")] = None
    """Where to write the page."""


def _run(spec: ReportSpec, context: StepContext) -> Outcome:
    """Read, and write figures and page.

    Raises:
        InputError: A file is missing, or not what it should be.
    """
    storage = context.storage
    safety = dict(_named(spec.safety, "safety"))
    if len(safety) < len(spec.safety):
        raise SpecError("safety: two files are of one model; name one for each")
    understanding: dict[str, list[str]] = {}
    for name, uri in _named(spec.understanding, "understanding"):
        understanding.setdefault(name, []).append(uri)
    models = {
        name: MeasuredModel(
            safety=read_figures(safety[name], "SafetyFigures/v1", "safety", storage)
            if name in safety
            else None,
            understanding=read_understanding(understanding.get(name, []), storage),
        )
        for name in dict.fromkeys([*safety, *understanding])
    }
    compared = None
    if spec.comparison is not None:
        compared = read_figures(spec.comparison, "ComparisonFigures/v1", "compare", storage)
    if not models and compared is None:
        raise SpecError("there is nothing to report: give safety, understanding or comparison")
    report = EvaluationReport(models, compared)
    write_json(spec.out, report.to_dict(), storage)
    if spec.html_out is not None:
        with new_file(spec.html_out, storage) as path:
            path.write_text(render_page(report, title=spec.title), encoding="utf-8")
    context.show(report.named())
    return Outcome(spec.out, report.named())


def _named(texts: Iterable[str], field: str) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, equals, uri = text.partition("=")
        if not (equals and name and uri):
            raise SpecError(f"{field}: {text!r} is not like NAME=URI")
        yield name, uri


def _of_job(part: ReportPart, place: JobPlace) -> ReportSpec:
    return ReportSpec(
        **place.settings(ReportSettings, part),
        safety=tuple(f"{one.name}={one.safety}" for one in part.models if one.safety is not None),
        understanding=tuple(
            f"{one.name}={uri}" for one in part.models for uri in one.understanding
        ),
        comparison=part.comparison,
        out=place.at("evaluation.json"),
        html_out=place.at("evaluation.html"),
    )


STEP = Step(
    "Put what was measured of some models on one page (paper Tables 2 and 3).",
    ReportSpec,
    _run,
    of_job=_of_job,
)

"""All steps that run as jobs: what each reads, leaves, and may take from another job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from mmrlhf_api.kinds.kind import Content, Input, Output

if TYPE_CHECKING:
    from mmrlhf_api.steps.annotation import AnnotationExportPart, AnnotationImportPart
    from mmrlhf_api.steps.answers import AnswersPart
    from mmrlhf_api.steps.asking import CritiquesPart, ResponsesPart
    from mmrlhf_api.steps.bench import BenchPart
    from mmrlhf_api.steps.compare import ComparePart
    from mmrlhf_api.steps.gate import GatePart
    from mmrlhf_api.steps.improve import ImprovePart
    from mmrlhf_api.steps.lmms_eval import LmmsEvalPart
    from mmrlhf_api.steps.preferences import PreferencesPart
    from mmrlhf_api.steps.prune import PrunePart
    from mmrlhf_api.steps.records import ExportPart, ImportPart
    from mmrlhf_api.steps.report import ReportPart
    from mmrlhf_api.steps.safety import SafetyPart
    from mmrlhf_api.steps.score import ScorePart

__all__ = ["STEPS", "StepEntry"]


@dataclass(frozen=True, kw_only=True)
class StepEntry:
    """A step as a job.

    Attributes:
        part: Wire name of its part of the spec: the step's own, but that CEL reserves import.
        inputs: What its part names that must be there before the job starts; fields are relative to
            the part.
        outputs: What it leaves, by name.
        content: What its first output is, where that depends on what it is told.
        beside: Folders that it may leave beside its outputs, which these name from where they are.
        shared: Whether its processes share the work, on GPUs too; the others are one process,
            which does as much at once as it can.
        gpu: Whether that one process may have a GPU.
    """

    part: str
    inputs: Callable[[Any], Iterator[Input]]
    outputs: tuple[Output, ...]
    shared: bool = False
    gpu: bool = False
    content: Callable[[Any], Content] | None = None
    beside: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """Name of the part's field in Python."""
        return re.sub("([A-Z])", r"_\1", self.part).lower()

    def left_by(self, part: Any) -> tuple[Output, ...]:  # noqa: ANN401 - each has a type of its own
        """What a run leaves that was told this."""
        if self.content is None:
            return self.outputs
        first, *others = self.outputs
        return replace(first, content=self.content(part)), *others


def _scored(part: ScorePart) -> Iterator[Input]:
    yield Input(field="data", uri=part.data, content="data", takes=("records",))
    if part.model is not None:
        yield Input(
            field="model",
            uri=part.model,
            content="model",
            child="reward_model.json",
            takes=("model",),
        )


def _compared(part: BenchPart) -> Iterator[Input]:
    yield Input(field="records", uri=part.records, content="data", takes=("records",))
    if part.scores is not None:
        yield Input(field="scores", uri=part.scores, content="data", takes=("scores",))
    for index, one in enumerate(part.others):
        yield Input(field=f"others[{index}].uri", uri=one.uri, content="data", takes=("scores",))


def _asked(part: ResponsesPart) -> Iterator[Input]:
    takes: tuple[Content, ...] = ("queries", "records")
    yield Input(field="records", uri=part.records, content="data", takes=takes)


def _commented(part: CritiquesPart) -> Iterator[Input]:
    yield Input(field="records", uri=part.records, content="data", takes=("records",))


def _weighed(part: GatePart) -> Iterator[Input]:
    for field, uris in (("candidate", part.candidate), ("champion", part.champion)):
        for index, uri in enumerate(uris):
            yield Input(field=f"{field}[{index}]", uri=uri, content="data", takes=("results",))
    given: tuple[tuple[str, str | None, Content], ...] = (
        ("verdicts", part.verdicts, "verdicts"),
        ("bench", part.bench, "records"),
        ("candidateScores", part.candidate_scores, "scores"),
        ("championScores", part.champion_scores, "scores"),
    )
    for field, one, content in given:
        if one is not None:
            yield Input(field=field, uri=one, content="data", takes=(content,))
    if part.artifact is not None:
        yield Input(
            field="artifact", uri=part.artifact, content="model", takes=("model", "adapter")
        )


def _answered(part: AnswersPart) -> Iterator[Input]:
    takes: tuple[Content, ...] = ("queries", "records")
    yield Input(field="records", uri=part.records, content="data", takes=takes)
    if part.policy is not None:
        yield _policy(part.policy)


def _preferred(part: PreferencesPart) -> Iterator[Input]:
    yield Input(field="records", uri=part.records, content="data", takes=("records",))
    if part.policy is not None:
        yield _policy(part.policy)


def _understood(part: LmmsEvalPart) -> Iterator[Input]:
    if part.policy is not None:
        yield _policy(part.policy)


def _policy(uri: str) -> Input:
    # An alias is a file, that may be moved: what it says then is an input like other data.
    from mmrlhf_api.steps.gate import is_alias

    content: Literal["data", "model"] = "data" if is_alias(uri) else "model"
    return Input(field="policy", uri=uri, content=content, takes=("model",))


def _judged(part: SafetyPart) -> Iterator[Input]:
    if part.responses is not None:
        yield Input(field="responses", uri=part.responses, content="data", takes=("queries",))
    for index, task in enumerate(part.tasks):
        field = f"tasks[{index}].records"
        takes: tuple[Content, ...] = ("queries", "records")
        yield Input(field=field, uri=task.records, content="data", takes=takes)
    for index, judge in enumerate(part.judges):
        if judge.classifier is not None:
            field = f"judges[{index}].classifier.model"
            yield Input(field=field, uri=judge.classifier.model, content="model")


def _imported(part: ImportPart) -> Iterator[Input]:
    yield Input(field="source", uri=part.source, content="data", takes=("rows",))


def _imported_content(part: ImportPart) -> Content:
    return "queries" if _without_ranks(part.format) else "records"


def _without_ranks(form: str) -> bool:
    from mmrlhf_api.steps.records import QUERY_FORMATS

    return form in QUERY_FORMATS


def _exported(part: ExportPart) -> Iterator[Input]:
    takes: tuple[Content, ...] = ("queries",) if _without_ranks(part.format) else ("records",)
    yield Input(field="records", uri=part.records, content="data", takes=takes)


def _shown(part: AnnotationExportPart) -> Iterator[Input]:
    yield Input(field="queries", uri=part.queries, content="data", takes=("queries",))


def _ranked(part: AnnotationImportPart) -> Iterator[Input]:
    yield Input(field="answers", uri=part.answers, content="data")
    yield Input(field="key", uri=part.key, content="data", takes=("key",))


def _improved(part: ImprovePart) -> Iterator[Input]:
    takes: tuple[Content, ...] = ("queries", "records")
    yield Input(field="queries", uri=part.queries, content="data", takes=takes)
    for field, uri, child in (
        ("policy", part.policy, "config.json"),
        ("reward", part.reward, "reward_model.json"),
    ):
        yield Input(field=field, uri=uri, content="model", child=child, takes=("model",))


def _paired(part: ComparePart) -> Iterator[Input]:
    takes: tuple[Content, ...] = ("queries", "records")
    yield Input(field="records", uri=part.records, content="data", takes=takes)
    yield Input(field="champion", uri=part.champion, content="data", takes=("queries",))
    if part.candidate is not None:
        yield Input(field="candidate", uri=part.candidate, content="data", takes=("queries",))
    if part.reward is not None:
        yield Input(
            field="reward",
            uri=part.reward,
            content="model",
            child="reward_model.json",
            takes=("model",),
        )


def _reported(part: ReportPart) -> Iterator[Input]:
    if part.comparison is not None:
        yield Input(field="comparison", uri=part.comparison, content="data", takes=("figures",))
    for index, one in enumerate(part.models):
        if one.safety is not None:
            field = f"models[{index}].safety"
            yield Input(field=field, uri=one.safety, content="data", takes=("figures",))
        for place, uri in enumerate(one.understanding):
            field = f"models[{index}].understanding[{place}]"
            yield Input(field=field, uri=uri, content="data", takes=("figures",))


def _pruned(_: PrunePart) -> Iterator[Input]:
    yield from ()  # it reads stores, and nothing of them is data


STEPS: Final[Mapping[str, StepEntry]] = MappingProxyType(
    {
        "score": StepEntry(
            part="score",
            inputs=_scored,
            outputs=(Output(name="scores", content="scores", path="scores.parquet"),),
            shared=True,
        ),
        "bench": StepEntry(
            part="bench",
            inputs=_compared,
            outputs=(
                Output(name="figures", content="figures", path="bench.json"),
                Output(name="page", content="page", path="bench.html"),
            ),
        ),
        "responses": StepEntry(
            part="responses",
            inputs=_asked,
            outputs=(Output(name="records", content="queries", path="responses.jsonl"),),
        ),
        "critiques": StepEntry(
            part="critiques",
            inputs=_commented,
            outputs=(Output(name="records", content="records", path="critiques.jsonl"),),
        ),
        "answers": StepEntry(
            part="answers",
            inputs=_answered,
            outputs=(Output(name="records", content="queries", path="answers.jsonl"),),
            gpu=True,
        ),
        "preferences": StepEntry(
            part="preferences",
            inputs=_preferred,
            outputs=(
                Output(name="results", content="results", path="results.json"),
                Output(name="figures", content="figures", path="preferences.json"),
            ),
            gpu=True,
        ),
        "safety": StepEntry(
            part="safety",
            inputs=_judged,
            outputs=(
                Output(name="results", content="results", path="results.json"),
                Output(name="figures", content="figures", path="safety.json"),
            ),
            gpu=True,
        ),
        "gate": StepEntry(
            part="gate",
            inputs=_weighed,
            outputs=(Output(name="report", content="figures", path="gate.json"),),
        ),
        "import": StepEntry(
            part="importData",
            inputs=_imported,
            outputs=(Output(name="records", content="records", path="records.jsonl"),),
            content=_imported_content,
            beside=("media",),
        ),
        "export": StepEntry(
            part="exportData",
            inputs=_exported,
            outputs=(Output(name="rows", content="rows", path="export.jsonl"),),
        ),
        "annotate-export": StepEntry(
            part="annotateExport",
            inputs=_shown,
            outputs=(
                Output(name="tasks", content="tasks", path="tasks"),
                Output(name="key", content="key", path="key.jsonl"),
            ),
        ),
        "annotate-import": StepEntry(
            part="annotateImport",
            inputs=_ranked,
            outputs=(
                Output(name="records", content="records", path="records.jsonl"),
                Output(name="unresolved", content="queries", path="unresolved.jsonl"),
            ),
        ),
        "improve": StepEntry(
            part="improve",
            inputs=_improved,
            outputs=(
                Output(name="records", content="records", path="records.jsonl"),
                Output(name="scores", content="scores", path="scores.parquet"),
            ),
            shared=True,
        ),
        "compare": StepEntry(
            part="compare",
            inputs=_paired,
            outputs=(
                Output(name="verdicts", content="verdicts", path="verdicts.json"),
                Output(name="candidate", content="results", path="candidate.json"),
                Output(name="champion", content="results", path="champion.json"),
                Output(name="figures", content="figures", path="comparison.json"),
            ),
            gpu=True,
        ),
        "lmms-eval": StepEntry(
            part="lmmsEval",
            inputs=_understood,
            outputs=(Output(name="figures", content="figures", path="lmms_eval.json"),),
            gpu=True,
        ),
        "report": StepEntry(
            part="report",
            inputs=_reported,
            outputs=(
                Output(name="figures", content="figures", path="evaluation.json"),
                Output(name="page", content="page", path="evaluation.html"),
            ),
        ),
        "prune": StepEntry(
            part="prune",
            inputs=_pruned,
            outputs=(Output(name="report", content="figures", path="prune.json"),),
        ),
    }
)
"""Steps by their name, which is that of their command."""

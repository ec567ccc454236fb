"""Types of StepJob: a step around training as a job, of one kind for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from mmrlhf_api.job import Job, JobSpec
from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_api.pod import given_as_secret
from mmrlhf_api.rules import Rule
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

__all__ = ["StepJob", "StepJobSpec", "StepName"]

StepName = Literal[
    "score",
    "bench",
    "responses",
    "critiques",
    "answers",
    "preferences",
    "safety",
    "gate",
    "import",
    "export",
    "annotate-export",
    "annotate-import",
    "improve",
    "compare",
    "lmms-eval",
    "report",
    "prune",
]
"""Steps that run as jobs: those of `mmrlhf_api.kinds.step_catalog.STEPS`."""

_ALONE = ", ".join(f"'{name}'" for name, entry in STEPS.items() if not entry.shared)
_WITHOUT_GPU = ", ".join(
    f"'{name}'" for name, entry in STEPS.items() if not (entry.shared or entry.gpu)
)


def _has_part(name: str, part: str) -> Callable[[StepJobSpec], bool]:
    return lambda self: (getattr(self, part) is not None) == (self.step == name)


def _is_alone(spec: StepJobSpec) -> bool:
    return STEPS[spec.step].shared or spec.resources.world_size == 1


def _needs_no_gpu(spec: StepJobSpec) -> bool:
    entry = STEPS[spec.step]
    return entry.shared or entry.gpu or spec.resources.gpus_per_node == 0


def _keys_are_secret(names: Callable[[StepJobSpec], list[str]]) -> Callable[[StepJobSpec], bool]:
    return lambda spec: spec.pod_template.secret_names.issuperset(names(spec))


def _responses_keys(spec: StepJobSpec) -> list[str]:
    servers = spec.responses.endpoints if spec.responses is not None else ()
    return [one.api_key_env for one in servers if one.api_key_env is not None]


def _critiques_keys(spec: StepJobSpec) -> list[str]:
    key = spec.critiques.endpoint.api_key_env if spec.critiques is not None else None
    return [] if key is None else [key]


def _safety_keys(spec: StepJobSpec) -> list[str]:
    judges = spec.safety.judges if spec.safety is not None else ()
    keys = [one.server.endpoint.api_key_env for one in judges if one.server is not None]
    return [key for key in keys if key is not None]


def _compare_keys(spec: StepJobSpec) -> list[str]:
    server = spec.compare.endpoint if spec.compare is not None else None
    return [] if server is None or server.api_key_env is None else [server.api_key_env]


class StepJobSpec(JobSpec):
    """Which step, and what it is told."""

    step: StepName
    """The step; the field of the same name says what it is told."""
    score: ScorePart | None = None
    """Score all responses of a data set with a reward model (paper 3.2)."""
    bench: BenchPart | None = None
    """Say how often a reward model prefers what people prefer (paper Table 4)."""
    responses: ResponsesPart | None = None
    """Ask models for responses to questions (paper 2.2)."""
    critiques: CritiquesPart | None = None
    """Expand human comments into critiques (paper Table 7)."""
    answers: AnswersPart | None = None
    """Answer queries with a policy."""
    preferences: PreferencesPart | None = None
    """Say how often a policy finds likelier what people prefer."""
    safety: SafetyPart | None = None
    """Say how safe a policy's answers are (paper Tables 3 and 6)."""
    gate: GatePart | None = None
    """Say whether a candidate may take the champion's place, and let it."""
    import_data: ImportPart | None = None
    """Make records of a public format."""
    export_data: ExportPart | None = None
    """Write records as a public format."""
    annotate_export: AnnotationExportPart | None = None
    """Write queries with responses for an annotation tool (paper 2.3)."""
    annotate_import: AnnotationImportPart | None = None
    """Read the answers of an annotation tool as ranked records (paper 2.3)."""
    improve: ImprovePart | None = None
    """Rank a policy's own responses by a reward model (paper 5.4)."""
    compare: ComparePart | None = None
    """Compare a candidate's responses with the champion's."""
    lmms_eval: LmmsEvalPart | None = None
    """Measure what a policy understands, by lmms-eval (paper Table 2)."""
    report: ReportPart | None = None
    """Put what was measured of some models on one page."""
    prune: PrunePart | None = None
    """Remove runs and cached values that nothing needs."""

    rules = (
        *(
            Rule(
                f"has(self.{entry.part}) == (self.step == '{name}')",
                f"{entry.part} is what step {name} is told: give it for that step, and no other",
                field=entry.part,
                check=_has_part(name, entry.field),
                detail=f"is what step {name} is told: give it for that step, and no other",
            )
            for name, entry in STEPS.items()
        ),
        Rule(
            f"!(self.step in [{_ALONE}])"
            " || (self.resources.nodes == 1 && self.resources.processesPerNode == 1)",
            "resources: this step runs as one process; give nodes: 1 and processesPerNode: 1",
            field="resources",
            check=_is_alone,
            detail="step {self.step} runs as one process, which does as much at once as it can;"
            " give nodes: 1 and processesPerNode: 1",
        ),
        Rule(
            f"!(self.step in [{_WITHOUT_GPU}]) || self.resources.gpusPerNode == 0",
            "resources.gpusPerNode must be 0: this step uses none",
            field="resources.gpusPerNode",
            check=_needs_no_gpu,
            detail="must be 0: step {self.step} uses none",
        ),
        Rule(
            "!has(self.responses) || self.responses.endpoints.all(server, !has(server.apiKeyEnv)"
            f" || ({given_as_secret('server.apiKeyEnv')}))",
            "responses.endpoints: give each apiKeyEnv in podTemplate.env, by secretKeyRef",
            field="responses.endpoints",
            check=_keys_are_secret(_responses_keys),
            detail="give each apiKeyEnv in podTemplate.env, by secretKeyRef; a local run takes it"
            " from its own environment",
        ),
        Rule(
            "!has(self.critiques) || !has(self.critiques.endpoint.apiKeyEnv)"
            f" || ({given_as_secret('self.critiques.endpoint.apiKeyEnv')})",
            "critiques.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef",
            field="critiques.endpoint",
            check=_keys_are_secret(_critiques_keys),
            detail="give apiKeyEnv in podTemplate.env, by secretKeyRef; a local run takes it from"
            " its own environment",
        ),
        Rule(
            "!has(self.safety) || self.safety.judges.all(judge, !has(judge.server)"
            " || !has(judge.server.endpoint.apiKeyEnv)"
            f" || ({given_as_secret('judge.server.endpoint.apiKeyEnv')}))",
            "safety.judges: give each apiKeyEnv in podTemplate.env, by secretKeyRef",
            field="safety.judges",
            check=_keys_are_secret(_safety_keys),
            detail="give each apiKeyEnv in podTemplate.env, by secretKeyRef; a local run takes it"
            " from its own environment",
        ),
        Rule(
            "!has(self.compare) || !has(self.compare.endpoint)"
            " || !has(self.compare.endpoint.apiKeyEnv)"
            f" || ({given_as_secret('self.compare.endpoint.apiKeyEnv')})",
            "compare.endpoint: give apiKeyEnv in podTemplate.env, by secretKeyRef",
            field="compare.endpoint",
            check=_keys_are_secret(_compare_keys),
            detail="give apiKeyEnv in podTemplate.env, by secretKeyRef; a local run takes it from"
            " its own environment",
        ),
    )

    @property
    def part(self) -> Any:  # noqa: ANN401 - each step has a type of its own
        """What the step is told."""
        return getattr(self, STEPS[self.step].field)


class StepJob(Job):
    """Runs one step around training: makes, judges or brings in data."""

    kind: Literal["StepJob"] = "StepJob"
    """Kind of the job."""
    spec: StepJobSpec
    """What to do."""

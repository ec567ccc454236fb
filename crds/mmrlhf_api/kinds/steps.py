"""StepJob: a step around training as a job, of one kind for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrlhf_api.constants import (
    ANNOTATION_POLICY_JOB,
    ANNOTATION_REWARD_JOB,
    ANNOTATION_STEP_JOB,
)
from mmrlhf_api.kinds.kind import Input, Kind, Need, Output, SpecColumn
from mmrlhf_api.kinds.registry import register
from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_api.progress import ITEMS_DONE, ITEMS_TOTAL, STAGE, Course

if TYPE_CHECKING:
    from mmrlhf_api.kinds.types.steps import StepJobSpec


def _inputs(spec: StepJobSpec) -> Iterator[Input]:
    entry = STEPS[spec.step]
    for one in entry.inputs(spec.part):
        yield replace(one, field=f"{entry.part}.{one.field}")


(_SCORES,) = STEPS["score"].outputs
(_ANSWERS,) = STEPS["answers"].outputs


def _outputs(spec: StepJobSpec) -> tuple[Output, ...]:
    return STEPS[spec.step].left_by(spec.part)


register(
    Kind(
        name="StepJob",
        plural="stepjobs",
        singular="stepjob",
        short_name="sj",
        subcommand="stepjob",
        home="mmrlhf_api.kinds.types.steps:StepJob",
        course=Course.ITEMS,
        columns=(STAGE, ITEMS_DONE, ITEMS_TOTAL),
        spec_columns=(SpecColumn(title="Task", path="spec.step", about="The step"),),
        runner="mmrlhf_jobs.steps.job:run_job",
        inputs=_inputs,
        outputs=_outputs,
        remade=lambda spec: spec.prune is None,
        needs=(
            Need(
                field="score.modelJob",
                kind="RewardTrainJob",
                takes="model",
                output=lambda run: run.model,
                becomes="score.model",
                annotation=ANNOTATION_REWARD_JOB,
            ),
            Need(
                field="bench.scoresJob",
                kind="StepJob",
                takes=_SCORES.name,
                output=lambda run: f"{run.prefix}/{_SCORES.path}",
                becomes="bench.scores",
                annotation=ANNOTATION_STEP_JOB,
            ),
            Need(
                field="answers.policyJob",
                kind="MMDPOJob",
                takes="model",
                output=lambda run: run.model,
                becomes="answers.policy",
                annotation=ANNOTATION_POLICY_JOB,
            ),
            Need(
                field="preferences.policyJob",
                kind="MMDPOJob",
                takes="model",
                output=lambda run: run.model,
                becomes="preferences.policy",
                annotation=ANNOTATION_POLICY_JOB,
            ),
            Need(
                field="lmmsEval.policyJob",
                kind="MMDPOJob",
                takes="model",
                output=lambda run: run.model,
                becomes="lmmsEval.policy",
                annotation=ANNOTATION_POLICY_JOB,
            ),
            Need(
                field="safety.responsesJob",
                kind="StepJob",
                takes=_ANSWERS.name,
                output=lambda run: f"{run.prefix}/{_ANSWERS.path}",
                becomes="safety.responses",
                annotation=ANNOTATION_STEP_JOB,
            ),
            Need(
                field="compare.candidateJob",
                kind="StepJob",
                takes=_ANSWERS.name,
                output=lambda run: f"{run.prefix}/{_ANSWERS.path}",
                becomes="compare.candidate",
                annotation=ANNOTATION_STEP_JOB,
            ),
        ),
    )
)

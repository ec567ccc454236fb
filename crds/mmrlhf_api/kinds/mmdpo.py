"""MMDPOJob: align a model with ranked responses (paper section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmrlhf_api.constants import ANNOTATION_REWARD_JOB
from mmrlhf_api.kinds.inputs import trained, training_inputs
from mmrlhf_api.kinds.kind import Input, Kind, Need
from mmrlhf_api.kinds.registry import register
from mmrlhf_api.progress import MARGIN, STEP, Course

if TYPE_CHECKING:
    from mmrlhf_api.kinds.types.mmdpo import MMDPOSpec


def _inputs(spec: MMDPOSpec) -> Iterator[Input]:
    yield from training_inputs(spec)
    if spec.reference.log_probs_uri is not None:
        yield Input(field="reference.logProbsUri", uri=spec.reference.log_probs_uri, content="data")
    if spec.reward is not None and spec.reward.scores_uri is not None:
        yield Input(
            field="reward.scoresUri", uri=spec.reward.scores_uri, content="data", takes=("scores",)
        )
    if spec.reward is not None and spec.reward.model_uri is not None:
        yield Input(
            field="reward.modelUri",
            uri=spec.reward.model_uri,
            content="model",
            child="reward_model.json",
            takes=("model",),
        )


register(
    Kind(
        name="MMDPOJob",
        plural="mmdpojobs",
        singular="mmdpojob",
        short_name="mmdpo",
        subcommand="mmdpo",
        home="mmrlhf_api.kinds.types.mmdpo:MMDPOJob",
        course=Course.STEPS,
        columns=(STEP, MARGIN),
        runner="mmrlhf_jobs.training.mmdpo.job:train",
        inputs=_inputs,
        needs=(
            Need(
                field="reward.jobName",
                kind="RewardTrainJob",
                takes="model",
                output=lambda run: run.model,
                becomes="reward.modelUri",
                annotation=ANNOTATION_REWARD_JOB,
            ),
        ),
        outputs=trained,
        held_out=("PreferenceAccuracy", "PreferenceMargin", "RewardAccuracy", "RewardMargin"),
    )
)

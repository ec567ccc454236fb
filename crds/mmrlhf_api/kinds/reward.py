"""RewardTrainJob: train the critique-based reward model (paper section 3)."""

from __future__ import annotations

from mmrlhf_api.kinds.inputs import trained, training_inputs
from mmrlhf_api.kinds.kind import Kind
from mmrlhf_api.kinds.registry import register
from mmrlhf_api.progress import ACCURACY, STEP, Course

register(
    Kind(
        name="RewardTrainJob",
        plural="rewardtrainjobs",
        singular="rewardtrainjob",
        short_name="rtj",
        subcommand="reward",
        home="mmrlhf_api.kinds.types.reward:RewardTrainJob",
        course=Course.STEPS,
        columns=(STEP, ACCURACY),
        runner="mmrlhf_jobs.training.reward.job:train",
        inputs=training_inputs,
        outputs=lambda spec: trained(spec, "reward_model.json"),
        held_out=("Acc", "AccPlus", "CritiqueLoss"),
    )
)

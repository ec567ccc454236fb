"""A RewardTrainJob from its data to the published model."""

from __future__ import annotations

from mmrlhf_api import RewardTrainJob
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.training.reward.recipe import RewardRecipe
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["train"]


def train(job: RewardTrainJob, context: TrainingContext) -> None:
    """Run a job; see `Trainer.run`."""
    Trainer(job, context, lambda preparation: RewardRecipe(job, preparation)).run()

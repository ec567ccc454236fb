"""The recipe of each kind."""

from __future__ import annotations

from mmrlhf_api import MMDPOJob
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.training.mmdpo.recipe import MMDPORecipe
from mmrlhf_jobs.training.preparation import TrainJob
from mmrlhf_jobs.training.reward.recipe import RewardRecipe
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["train"]


def train(job: TrainJob, context: TrainingContext) -> None:
    """Run a job that trains a model; see `Trainer.run`."""
    if isinstance(job, MMDPOJob):
        mmdpo = job
        Trainer(job, context, lambda preparation: MMDPORecipe(mmdpo, preparation)).run()
    else:
        reward = job
        Trainer(job, context, lambda preparation: RewardRecipe(reward, preparation)).run()

"""An MMDPOJob from its data to the published model."""

from __future__ import annotations

from mmrlhf_api import MMDPOJob
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.training.mmdpo.recipe import MMDPORecipe
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["train"]


def train(job: MMDPOJob, context: TrainingContext) -> None:
    """Run a job; see `Trainer.run`."""
    Trainer(job, context, lambda preparation: MMDPORecipe(job, preparation)).run()

"""A RewardTrainJob from its data to the published model."""

from __future__ import annotations

from mmrlhf_api import RewardTrainJob
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.reward_model.judge import critique_template
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset
from mmrlhf_jobs.training.memory.rows import Encoding
from mmrlhf_jobs.training.reward.recipe import RewardRecipe, judged_builder
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["encoding", "train"]


def train(job: RewardTrainJob, context: TrainingContext) -> None:
    """Run a job; see `Trainer.run`."""
    Trainer(job, context, lambda preparation: RewardRecipe(job, preparation)).run()


def encoding(
    job: RewardTrainJob, loaded: LoadedModel, dataset: OpenDataset, options: StorageOptions | None
) -> Encoding:
    """The rows that a job trains on; see `encoding_of`."""
    builder = judged_builder(job.spec, critique_template(loaded), dataset, options)
    return Encoding(lambda record: builder.build(record).encoded)

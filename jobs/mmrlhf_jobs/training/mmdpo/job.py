"""An MMDPOJob from its data to the published model."""

from __future__ import annotations

from mmrlhf_api import MMDPOJob
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset
from mmrlhf_jobs.training.memory.rows import Encoding
from mmrlhf_jobs.training.mmdpo.recipe import MMDPORecipe, query_encoder
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["encoding", "train"]


def train(job: MMDPOJob, context: TrainingContext) -> None:
    """Run a job; see `Trainer.run`."""
    Trainer(job, context, lambda preparation: MMDPORecipe(job, preparation)).run()


def encoding(
    job: MMDPOJob, loaded: LoadedModel, dataset: OpenDataset, options: StorageOptions | None
) -> Encoding:
    """The rows that a job trains on; see `encoding_of`."""
    encoder = query_encoder(job.spec, loaded, dataset, options)
    return Encoding(encoder.encode, job.spec.objective.shared_prefix)

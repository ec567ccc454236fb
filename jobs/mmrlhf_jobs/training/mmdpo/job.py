"""An MMDPOJob from its data to the published model."""

from __future__ import annotations

from mmrlhf_api import MMDPOJob
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.queries.preference import QueryEncoder
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset
from mmrlhf_jobs.training.memory.rows import Encoding
from mmrlhf_jobs.training.mmdpo.recipe import MMDPORecipe
from mmrlhf_jobs.training.trainer import Trainer

__all__ = ["encoding", "train"]


def train(job: MMDPOJob, context: TrainingContext) -> None:
    """Run a job; see `Trainer.run`."""
    Trainer(job, context, lambda preparation: MMDPORecipe(job, preparation)).run()


def encoding(
    job: MMDPOJob, loaded: LoadedModel, dataset: OpenDataset, options: StorageOptions | None
) -> Encoding:
    """The rows that a job trains on; see `encoding_of`."""
    objective = job.spec.objective
    encoder = QueryEncoder(
        loaded.adapter,
        max_tokens=loaded.max_tokens,
        media_root=dataset.records.media_folders,
        mode=objective.pairs,
        storage=options,
    )
    return Encoding(encoder.encode, objective.shared_prefix)

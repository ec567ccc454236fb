"""A training as far as memory goes: its model without weights, its data, and what both take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmrlhf_api import TrainJob
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import open_dataset
from mmrlhf_jobs.training.memory.advice import Change, advise
from mmrlhf_jobs.training.memory.estimate import Card, Estimate, estimate
from mmrlhf_jobs.training.memory.probe import PROBE
from mmrlhf_jobs.training.memory.rows import QuerySizes, encoding_of, measure_queries
from mmrlhf_jobs.training.memory.shape import ModelShape, make_skeleton, measure_shape

__all__ = ["DryRun", "dry_run"]


@dataclass(frozen=True)
class DryRun:
    """What a job would take.

    Attributes:
        job: The job.
        shape: Its model.
        queries: Queries that were looked at.
        estimate: Memory.
        changes: What makes it fit, where it does not.
    """

    job: TrainJob
    shape: ModelShape
    queries: QuerySizes
    estimate: Estimate
    changes: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        found = self.estimate
        return {
            "fits": found.fits,
            "perProcessBytes": found.per_process,
            "perProcessLimitBytes": found.limit,
            "hostBytes": found.host,
            "hostLimitBytes": found.host_limit,
            "parts": [
                {"name": part.name, "bytes": part.count, "note": part.note} for part in found.parts
            ],
            "trainedNumbers": self.shape.trained,
            "frozenNumbers": self.shape.frozen,
            "queriesLookedAt": len(self.queries.sizes),
            "changes": [
                {
                    "set": change.fields,
                    "cost": change.cost,
                    "perProcessBytes": change.estimate.per_process,
                    "fits": change.estimate.fits,
                }
                for change in self.changes
            ],
        }


def dry_run(
    job: TrainJob,
    folder: Path,
    *,
    card: Card,
    tokens: int | None,
    queries: int,
    options: StorageOptions | None,
) -> DryRun:
    """Measure a job.

    Args:
        job: A job that trains.
        folder: Its model folder; weights may be missing.
        card: What each process has.
        tokens: Tokens of the largest query; None looks into the data.
        queries: Queries to look at, from the first on.
        options: How to reach an object store.

    Raises:
        DataError: The data is missing or wrong.
        ModelError: The model is wrong.
        SpecError: The job does not fit the model.
    """

    def shape_of(job: TrainJob) -> ModelShape:
        return measure_shape(make_skeleton(folder, job.spec.model), job.spec)

    shape = shape_of(job)
    sizes = (
        _look(job, folder, shape, queries, options)
        if tokens is None
        else QuerySizes(((tokens, 0),))
    )
    known = {_key(job): shape}

    def measure(job: TrainJob) -> Estimate:
        key = _key(job)
        if key not in known:
            known[key] = shape_of(job)
        batch = sizes.largest(job.spec.training.queries_per_micro_batch)
        return estimate(job.spec, known[key], batch, card)

    now = measure(job)
    return DryRun(job, shape, sizes, now, advise(job, now, measure))


def _key(job: TrainJob) -> str:
    """What the shape of a model depends on."""
    spec = job.spec
    return repr((spec.model, spec.trainable, spec.adapter, spec.training.recomputed))


def _look(
    job: TrainJob, folder: Path, shape: ModelShape, queries: int, options: StorageOptions | None
) -> QuerySizes:
    register_shared_prefix_attention()
    # FlashAttention 2 shares nothing, as the probe does not, and needs a package to be named.
    attention = {"sdpa": SHARED_PREFIX_SDPA, "eager": "eager"}.get(job.spec.model.attention, PROBE)
    skeleton = make_skeleton(folder, job.spec.model, attention)
    alone = Runtime(0, 1, torch.device("cpu"))
    dataset = open_dataset(
        job.spec.data.train,
        max_invalid_fraction=job.spec.data.max_invalid_fraction,
        seed=job.spec.training.seed,
        runtime=alone,
        options=options,
    )
    encoding = encoding_of(job, skeleton, dataset, options)
    shared = encoding.shared_prefix != "off" and skeleton.adapter.supports_shared_prefix
    return measure_queries(
        map(encoding.encode, dataset.records.share()),
        shared=shared,
        patch=shape.patch if job.spec.trainable.vision_tower else 0,
        most=queries,
    )

"""What a finished run leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmrlhf_api import MMDPOJob, job_dict, spec_digest
from mmrlhf_jobs.evaluation.runner import EvaluationResult
from mmrlhf_jobs.models.folders import save_model
from mmrlhf_jobs.reporting.manifest import SCHEMA, environment
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.trainers.inputs import Policy
from mmrlhf_jobs.trainers.preparation import PreparedRun

__all__ = ["make_manifest", "named_metrics", "publish_model"]


def publish_model(
    policy: Policy,
    weights: Mapping[str, torch.Tensor],
    *,
    store: ArtifactStore,
    key: str,
    scratch: Path,
) -> None:
    """Write the model as a Hugging Face folder and make it visible at once.

    Args:
        policy: The model as it was loaded.
        weights: Weights of the scorer around it.
        store: Artifacts.
        key: Key of the model.
        scratch: Local folder for the files on their way.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    save_model(
        policy.loaded.model,
        {name.removeprefix("model."): value for name, value in weights.items()},
        source=policy.folder,
        target=scratch,
    )
    # Left over by a run that was killed before its manifest.
    store.remove(key)
    store.publish(scratch, key)
    shutil.rmtree(scratch)


def named_metrics(results: Mapping[str, EvaluationResult]) -> dict[str, float]:
    """Overall figures by wire name, such as ``afterPreferenceAccuracy``."""
    metrics: dict[str, float] = {}
    for name, result in results.items():
        metrics |= result.overall.named(name)
    return metrics


def make_manifest(
    job: MMDPOJob,
    prepared: PreparedRun,
    results: Mapping[str, EvaluationResult],
    *,
    processes: int,
    engine: str,
    steps: int,
    attempts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The record of a run: what it was made from, by what, and what came out.

    Args:
        job: The job.
        prepared: Its data.
        results: Evaluations by name.
        processes: Number of processes.
        engine: Name of the engine.
        steps: Optimizer steps done.
        attempts: Every start of the run and how it ended.
    """
    return {
        "schema": SCHEMA,
        "job": job_dict(job),
        "specDigest": spec_digest(job),
        "inputs": asdict(prepared.digests),
        "data": prepared.train.report.to_dict(),
        "seed": job.spec.training.seed,
        "processes": processes,
        "engine": engine,
        "steps": steps,
        "rewards": prepared.rewards.as_dict() if prepared.rewards else None,
        "metrics": named_metrics(results),
        "evaluation": {
            name: {
                "overall": result.overall.named(),
                **{category: scores.named() for category, scores in result.by_category.items()},
            }
            for name, result in results.items()
        },
        "environment": environment(),
        "attempts": attempts,
    }

"""What a finished run leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrlhf_api import TrainJob, job_dict, spec_digest
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.evaluation.results import EvaluationResult
from mmrlhf_jobs.queries.protocols import Q
from mmrlhf_jobs.reporting.manifest import SCHEMA, environment
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.storage.uris import storage_errors
from mmrlhf_jobs.training.recipe import Out, PreparedRun

__all__ = ["make_manifest", "named_metrics", "publish_model", "rehearse_publication"]


def rehearse_publication(
    save: Callable[[Path], None], *, store: ArtifactStore, key: str, scratch: Path
) -> None:
    """Do before the first step what `publish_model` does after the last, without publishing.

    Args:
        save: Writes the model without its weights into a folder that does not exist yet.
        store: Artifacts.
        key: Key of the model.
        scratch: Local folder for the files.

    Raises:
        ModelError: What goes with the model cannot be written as it is.
        StorageError: What was written cannot be published.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with storage_errors(str(scratch), "write"):
            save(scratch)
        store.check_publishable(scratch, key)
    except ValueError as error:
        raise ModelError(
            f"the trained model could not be written: {error}; nothing was trained. Mend the "
            "model folder that the job starts from"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish_model(
    save: Callable[[Path], None], *, results: Results, name: str, scratch: Path
) -> None:
    """Write a model, or its adapter, as a folder and keep it among the results of this attempt.

    Args:
        save: Writes it into a folder that does not exist yet.
        results: Of this attempt.
        name: Its name among them.
        scratch: Local folder for the files on their way.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    save(scratch)
    results.publish(scratch, name)
    shutil.rmtree(scratch)


def named_metrics(
    prepared: PreparedRun[Q, Out], results: Mapping[str, EvaluationResult]
) -> dict[str, float]:
    """Overall figures by wire name, such as ``afterPreferenceAccuracy``."""
    metrics = dict(prepared.metrics)
    for name, result in results.items():
        metrics |= result.named(name)
    return metrics


def make_manifest(
    job: TrainJob,
    prepared: PreparedRun[Q, Out],
    results: Mapping[str, EvaluationResult],
    *,
    processes: int,
    engine: str,
    steps: int,
    skipped: int,
    savings: Mapping[str, Any],
    features: Mapping[str, Any],
    adapter: Mapping[str, Any] | None,
    trackers: Mapping[str, Any],
    hardest: Sequence[Mapping[str, Any]],
    lineage: Mapping[str, Any],
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
        skipped: How many of them updated nothing, because a gradient overflowed float16.
        savings: What checkpoints have come to in the last attempt.
        features: How often frozen vision towers ran, and what was kept of them.
        adapter: What was trained in place of the model's weights, if it was an adapter.
        trackers: How many rows of ``metrics.jsonl`` each tracker has taken and lost.
        hardest: Rows of largest loss in the last epoch.
        lineage: What the job named as its inputs, by digest.
        attempts: Every start of the run and how it ended.
    """
    return {
        "schema": SCHEMA,
        "job": job_dict(job),
        "specDigest": spec_digest(job),
        "lineage": dict(lineage),
        "inputs": prepared.digests.to_dict(),
        "data": prepared.train.report.to_dict(),
        "seed": job.spec.training.seed,
        "processes": processes,
        "engine": engine,
        "steps": steps,
        **({"skippedSteps": skipped} if skipped else {}),
        "checkpoints": dict(savings),
        **({} if adapter is None else {"adapter": dict(adapter)}),
        **prepared.record,
        "visionFeatures": dict(features),
        "trackers": dict(trackers),
        "largestLosses": list(hardest),
        "metrics": named_metrics(prepared, results),
        "evaluation": {name: result.to_dict() for name, result in results.items()},
        "environment": environment(),
        "attempts": attempts,
    }

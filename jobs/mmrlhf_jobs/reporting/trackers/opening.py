"""The trackers that a job asks for."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mmrlhf_api import TrainTracking
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.reporting.events import Tell
from mmrlhf_jobs.reporting.manifest import Clock
from mmrlhf_jobs.reporting.trackers.aside import Aside, Trackers
from mmrlhf_jobs.reporting.trackers.tracker import Keep, RunIdentity, Tracker

__all__ = ["check_tracking", "open_trackers"]

_PACKAGES: Final = {"wandb": "wandb", "mlflow": "mlflow-skinny or mlflow"}


def check_tracking(spec: TrainTracking, environ: Mapping[str, str] = os.environ) -> None:
    """Look before anything is trained whether the packages and keys are there.

    Raises:
        SpecError: One is not; says which field wants it.
    """
    wanted = {"wandb": spec.wandb, "mlflow": spec.mlflow}
    for name, settings in wanted.items():
        if settings is not None and importlib.util.find_spec(name) is None:
            raise SpecError(
                f"spec.tracking.{name}: needs the package {_PACKAGES[name]}, which is not"
                f" installed here; install mmrlhf[{name}] in the image or environment of the job,"
                f" or remove the field"
            )
    keys = {
        "wandb.apiKeyEnv": spec.wandb.api_key_env
        if spec.wandb is not None and spec.wandb.mode == "online"
        else None,
        "mlflow.tokenEnv": spec.mlflow.token_env if spec.mlflow is not None else None,
    }
    for field, variable in keys.items():
        if variable is not None and not environ.get(variable):
            raise SpecError(
                f"spec.tracking.{field}: names {variable}, which is not set; in a cluster"
                " podTemplate.env gives it from a Secret, on this machine export it"
            )


def open_trackers(
    spec: TrainTracking,
    identity: RunIdentity,
    *,
    scratch: Path,
    keep: Keep,
    clock: Clock,
    tell: Tell,
) -> Trackers:
    """The trackers of a run; rank 0 has them.

    Args:
        spec: ``spec.tracking``.
        identity: What the run is called.
        scratch: Local folder for their files.
        keep: Puts files among the artifacts.
        clock: Tells the time.
        tell: Takes sentences for whoever runs the job.
    """
    from mmrlhf_jobs.reporting.trackers.tensorboard_file import TensorboardFile

    found: list[Tracker] = [TensorboardFile(scratch / "tensorboard", keep)]
    if spec.wandb is not None:
        from mmrlhf_jobs.reporting.trackers.wandb_run import WandbRun

        found.append(WandbRun(spec.wandb, identity, scratch / "wandb", keep))
    if spec.mlflow is not None:
        from mmrlhf_jobs.reporting.trackers.mlflow_run import MlflowRun

        found.append(MlflowRun(spec.mlflow, identity))
    return Trackers([Aside(tracker, tell=tell) for tracker in found], clock)

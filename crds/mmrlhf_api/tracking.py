"""Where the figures of a run go."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from mmrlhf_api.base import ApiModel
from mmrlhf_api.scalars import LabelKey, Matching, PositiveInt, VariableName, Word

__all__ = ["MlflowTracking", "Tracking", "TrainTracking", "WandbTracking"]


class Tracking(ApiModel):
    """Metrics of a run."""

    log_every_steps: PositiveInt = 1
    """Optimizer steps between lines of metrics.jsonl."""
    tags: Annotated[dict[LabelKey, Word], MaxLen(64)] = Field(default_factory=dict)
    """Tags of the run, copied into the manifest."""


class WandbTracking(ApiModel):
    """Weights & Biases: the series of metrics.jsonl as a run there, named after the job.

    The run's id is made of the job's UID, so that a restart goes on in it.
    """

    project: Word
    """Project of the run."""
    entity: Word | None = None
    """User or team that the project is of; without it, the default of the key's owner."""
    mode: Literal["online", "offline"] = "online"
    """online sends as the job runs. offline writes what wandb sync sends later, into the folder
    wandb/ of the job's artifacts."""
    base_url: (
        Annotated[
            str,
            MinLen(1),
            MaxLen(2048),
            Matching(
                r"^https?://[^\s/@]+(/\S*)?$",
                "a URL that starts with http:// or https:// and carries no user:password@",
            ),
        ]
        | None
    ) = None
    """Server of one's own; without it, api.wandb.ai."""
    api_key_env: VariableName = "WANDB_API_KEY"
    """Environment variable that holds the key, for mode online. In a cluster podTemplate.env gives
    it, from a Secret."""


class MlflowTracking(ApiModel):
    """MLflow: the series of metrics.jsonl as a run there, named after the job.

    The run is found again by its tag mmrlhf.uid, the job's UID, so that a restart goes on in it.
    """

    tracking_uri: Annotated[
        str,
        MinLen(1),
        MaxLen(2048),
        Matching(
            r"^(https?://[^\s/@]+(/\S*)?|sqlite:///[^\s@]+)$",
            "the URL of a server, http:// or https:// without user:password@, or sqlite:///path",
        ),
    ]
    """Server, or on a laptop a database file: sqlite:///path."""
    experiment: Word
    """Experiment of the run; made where it does not exist."""
    token_env: VariableName | None = None
    """Environment variable that holds a bearer token; without it, the server needs none. In a
    cluster podTemplate.env gives it, from a Secret."""


class TrainTracking(Tracking):
    """Where else the figures of a training go, beside metrics.jsonl and TensorBoard's files.

    What another service does not take is told and counted, and ends no training.
    """

    wandb: WandbTracking | None = None
    """Weights & Biases; needs the package wandb in the image."""
    mlflow: MlflowTracking | None = None
    """MLflow; needs the package mlflow-skinny or mlflow in the image."""
    report_samples: Annotated[int, Ge(0), Le(16)] = 4
    """Queries of data.evaluation, or else of data.train, that an MMDPOJob answers before and after
    training for report.html; 0 answers none, and neither do weights that are split (zeroStage
    3)."""
    report_tokens: Annotated[int, Ge(1), Le(4096)] = 128
    """Tokens after which such an answer is cut off."""

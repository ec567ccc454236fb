"""What all kinds have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen

from mmrlhf_api.base import ApiModel
from mmrlhf_api.data import PreferenceData
from mmrlhf_api.metadata import ObjectMeta
from mmrlhf_api.models import Adapter, ModelSource, Trainable
from mmrlhf_api.pod import PodTemplate, given_as_secret
from mmrlhf_api.policy import RunPolicy
from mmrlhf_api.resources import Resources
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import DnsLabel, Matching
from mmrlhf_api.scheduling import Scheduling
from mmrlhf_api.status import JobStatus
from mmrlhf_api.storage import ArtifactStore
from mmrlhf_api.tracking import Tracking, TrainTracking, WandbTracking
from mmrlhf_api.training import Checkpoint, Optimizer, Parallelism, Training

__all__ = ["Job", "JobSpec", "TrainJob", "TrainJobSpec"]

ImageName = Annotated[
    str, MinLen(1), MaxLen(512), Matching(r"^[a-zA-Z0-9]\S*$", "an image name without spaces")
]


_WANDB_KEY = (
    "(has(self.tracking.wandb.apiKeyEnv) ? self.tracking.wandb.apiKeyEnv"
    f" : '{WandbTracking.model_fields['api_key_env'].default}')"
)


class JobSpec(ApiModel):
    """Part of a spec that every kind has."""

    artifacts: ArtifactStore
    """Where the job writes its results."""
    image: ImageName | None = None
    """Image of the pods; without it, the operator's default for the kind. Local runs ignore it."""
    resources: Resources = Resources()
    """Nodes, processes and devices."""
    node_pool: DnsLabel | None = None
    """Node-pool profile of the operator (such as h800) that adds selectors, tolerations, network
    devices and NCCL settings."""
    scheduling: Scheduling = Scheduling()
    """Queueing, priority and placement."""
    run_policy: RunPolicy = RunPolicy()
    """Restarts, deadlines, suspension and clean-up."""
    checkpoint: Checkpoint = Checkpoint()
    """State that lets the job go on where it stopped."""
    tracking: Tracking = Tracking()
    """Metrics and tags of the run."""
    pod_template: PodTemplate = PodTemplate()
    """Additions to every pod."""


class TrainJobSpec(JobSpec):
    """Part of a spec that the kinds that train a model have."""

    model: ModelSource
    """Model to start from."""
    trainable: Trainable = Trainable()
    """Parts of the model that training changes."""
    adapter: Adapter | None = None
    """Train an adapter of these parts, and none of their weights; without it, the weights."""
    data: PreferenceData
    """Ranked responses to train on."""
    optimizer: Optimizer = Optimizer()
    """Optimizer and learning-rate schedule."""
    training: Training = Training()
    """Length of training, batches and determinism."""
    parallelism: Parallelism = Parallelism()
    """How the model is spread over processes."""
    tracking: TrainTracking = TrainTracking()
    """Metrics and tags of the run, and who else is told them."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.training.evaluateEverySteps) || has(self.data.evaluation)",
            "training.evaluateEverySteps needs data.evaluation",
            field="training.evaluateEverySteps",
            check=lambda self: (
                self.training.evaluate_every_steps is None or self.data.evaluation is not None
            ),
            detail="needs data.evaluation, the records to evaluate with",
        ),
        Rule(
            "self.parallelism.engine != 'none'"
            " || (self.resources.nodes == 1 && self.resources.processesPerNode == 1)",
            "parallelism.engine none runs on one process only; use auto or deepspeed",
            field="parallelism.engine",
            check=lambda self: self.parallelism.engine != "none" or self.resources.world_size == 1,
            detail="none runs on one process only, but resources ask for "
            "{self.resources.world_size}; use auto or deepspeed",
        ),
        Rule(
            "!has(self.adapter) || !has(self.adapter.quantization)"
            " || self.parallelism.zeroStage != 3",
            "adapter.quantization keeps all weights on each process, and zeroStage 3 divides them;"
            " take another stage, or no quantization",
            field="adapter.quantization",
            check=lambda self: (
                self.adapter is None
                or self.adapter.quantization is None
                or self.parallelism.zero_stage != 3
            ),
            detail="keeps all weights on each process, and parallelism.zeroStage 3 divides them;"
            " take another stage, or no quantization",
        ),
        Rule(
            # Defaults of what is absent by default are not there to older API servers.
            "!has(self.tracking.wandb)"
            " || (has(self.tracking.wandb.mode) && self.tracking.wandb.mode == 'offline')"
            f" || ({given_as_secret(_WANDB_KEY)})",
            "tracking.wandb: give apiKeyEnv in podTemplate.env, by secretKeyRef; or use mode"
            " offline",
            field="tracking.wandb",
            check=lambda self: (
                self.tracking.wandb is None
                or self.tracking.wandb.mode != "online"
                or self.tracking.wandb.api_key_env in self.pod_template.secret_names
            ),
            detail="give apiKeyEnv ({self.tracking.wandb.api_key_env}) in podTemplate.env, by"
            " secretKeyRef, or use mode offline; a local run takes it from its own environment",
        ),
        Rule(
            "!has(self.tracking.mlflow) || !has(self.tracking.mlflow.tokenEnv)"
            f" || ({given_as_secret('self.tracking.mlflow.tokenEnv')})",
            "tracking.mlflow: give tokenEnv in podTemplate.env, by secretKeyRef",
            field="tracking.mlflow",
            check=lambda self: (
                self.tracking.mlflow is None
                or self.tracking.mlflow.token_env is None
                or self.tracking.mlflow.token_env in self.pod_template.secret_names
            ),
            detail="give tokenEnv ({self.tracking.mlflow.token_env}) in podTemplate.env, by"
            " secretKeyRef; a local run takes it from its own environment",
        ),
    )


class Job(ApiModel):
    """A job of any kind; each kind is a subclass with its own ``kind`` and ``spec``."""

    api_version: Literal["mmrlhf.io/v1alpha1"] = "mmrlhf.io/v1alpha1"
    """Version of the API."""
    metadata: ObjectMeta
    """Name, namespace, labels and annotations."""
    status: JobStatus | None = None
    """State of the job; written by the operator."""
    kind: str
    """Kind of the job."""
    spec: JobSpec
    """What to do."""


class TrainJob(Job):
    """A job that trains a model."""

    spec: TrainJobSpec
    """What to do."""

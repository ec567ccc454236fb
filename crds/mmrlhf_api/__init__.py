"""API types of mmrlhf, the one source of truth for every kind.

``load_job`` reads a job file, ``job_json`` writes one, ``KINDS`` lists what there is.
"""

from mmrlhf_api.data import DataSource, PreferenceData
from mmrlhf_api.errors import ApiError, FieldError, JobFileError, Problem, UnknownKindError
from mmrlhf_api.job import Job, JobSpec, TrainJob, TrainJobSpec
from mmrlhf_api.jobfile import load_job, load_jobs, parse_job
from mmrlhf_api.kinds import KINDS, Input, Kind, Need, Output, find_kind, kind_of, register
from mmrlhf_api.kinds.mmdpo import (
    BetaPolicy,
    MMDPOJob,
    MMDPOSpec,
    PreferenceObjective,
    Reference,
    RewardSource,
)
from mmrlhf_api.kinds.reward import (
    RewardInference,
    RewardObjective,
    RewardTrainJob,
    RewardTrainSpec,
)
from mmrlhf_api.kinds.sample import (
    Clustering,
    ClusterSampleJob,
    ClusterSampleSpec,
    Embedding,
    EmbeddingModel,
    Failures,
    Ratio,
    Report,
    SampleSource,
    Selection,
    Typing,
)
from mmrlhf_api.kinds.steps import StepJob, StepJobSpec
from mmrlhf_api.metadata import ObjectMeta
from mmrlhf_api.models import Adapter, ModelSource, Trainable
from mmrlhf_api.pod import EnvVar, PodTemplate, SecretKeyRef, Toleration
from mmrlhf_api.policy import FailureRule, RunPolicy
from mmrlhf_api.resources import Resources
from mmrlhf_api.scheduling import Scheduling
from mmrlhf_api.serialization import (
    job_dict,
    job_json,
    run_digest,
    spec_digest,
    training_digest,
)
from mmrlhf_api.status import (
    ArtifactStatus,
    Condition,
    EndedWell,
    JobStatus,
    OutputStatus,
    PodCounts,
    Progress,
    Reporter,
)
from mmrlhf_api.storage import ArtifactStore
from mmrlhf_api.tracking import MlflowTracking, Tracking, TrainTracking, WandbTracking
from mmrlhf_api.training import Checkpoint, Optimizer, Parallelism, Recompute, Training

__all__ = [
    "KINDS",
    "Adapter",
    "ApiError",
    "ArtifactStatus",
    "ArtifactStore",
    "BetaPolicy",
    "Checkpoint",
    "ClusterSampleJob",
    "ClusterSampleSpec",
    "Clustering",
    "Condition",
    "DataSource",
    "Embedding",
    "EmbeddingModel",
    "EndedWell",
    "EnvVar",
    "FailureRule",
    "Failures",
    "FieldError",
    "Input",
    "Job",
    "JobFileError",
    "JobSpec",
    "JobStatus",
    "Kind",
    "MMDPOJob",
    "MMDPOSpec",
    "MlflowTracking",
    "ModelSource",
    "Need",
    "ObjectMeta",
    "Optimizer",
    "Output",
    "OutputStatus",
    "Parallelism",
    "PodCounts",
    "PodTemplate",
    "PreferenceData",
    "PreferenceObjective",
    "Problem",
    "Progress",
    "Ratio",
    "Recompute",
    "Reference",
    "Report",
    "Reporter",
    "Resources",
    "RewardInference",
    "RewardObjective",
    "RewardSource",
    "RewardTrainJob",
    "RewardTrainSpec",
    "RunPolicy",
    "SampleSource",
    "Scheduling",
    "SecretKeyRef",
    "Selection",
    "StepJob",
    "StepJobSpec",
    "Toleration",
    "Tracking",
    "TrainJob",
    "TrainJobSpec",
    "TrainTracking",
    "Trainable",
    "Training",
    "Typing",
    "UnknownKindError",
    "WandbTracking",
    "find_kind",
    "job_dict",
    "job_json",
    "kind_of",
    "load_job",
    "load_jobs",
    "parse_job",
    "register",
    "run_digest",
    "spec_digest",
    "training_digest",
]

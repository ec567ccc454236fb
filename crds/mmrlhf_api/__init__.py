"""API types of mmrlhf, the one source of truth for every kind.

``load_job`` reads a job file, ``job_json`` writes one, ``KINDS`` lists what there is.

The import is quick: all of it is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from mmrlhf_api.lazy import lazily

if TYPE_CHECKING:
    from mmrlhf_api.data import DataSource, PreferenceData
    from mmrlhf_api.errors import ApiError, FieldError, JobFileError, Problem, UnknownKindError
    from mmrlhf_api.job import Job, JobSpec, TrainJob, TrainJobSpec
    from mmrlhf_api.jobfile import load_job, load_jobs, parse_job
    from mmrlhf_api.kinds import KINDS, Input, Kind, Need, Output, find_kind, kind_of, register
    from mmrlhf_api.kinds.types.mmdpo import (
        BetaPolicy,
        MMDPOJob,
        MMDPOSpec,
        PreferenceObjective,
        Reference,
        RewardSource,
    )
    from mmrlhf_api.kinds.types.reward import (
        RewardInference,
        RewardObjective,
        RewardTrainJob,
        RewardTrainSpec,
    )
    from mmrlhf_api.kinds.types.sample import (
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
    from mmrlhf_api.kinds.types.steps import StepJob, StepJobSpec
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
else:
    __getattr__ = lazily(
        __name__,
        {
            "mmrlhf_api.data": "DataSource PreferenceData",
            "mmrlhf_api.errors": "ApiError FieldError JobFileError Problem UnknownKindError",
            "mmrlhf_api.job": "Job JobSpec TrainJob TrainJobSpec",
            "mmrlhf_api.jobfile": "load_job load_jobs parse_job",
            "mmrlhf_api.kinds": "KINDS Input Kind Need Output find_kind kind_of register",
            "mmrlhf_api.kinds.types.mmdpo": (
                "BetaPolicy MMDPOJob MMDPOSpec PreferenceObjective Reference RewardSource"
            ),
            "mmrlhf_api.kinds.types.reward": (
                "RewardInference RewardObjective RewardTrainJob RewardTrainSpec"
            ),
            "mmrlhf_api.kinds.types.sample": (
                "Clustering ClusterSampleJob ClusterSampleSpec Embedding EmbeddingModel"
                " Failures Ratio Report SampleSource Selection Typing"
            ),
            "mmrlhf_api.kinds.types.steps": "StepJob StepJobSpec",
            "mmrlhf_api.metadata": "ObjectMeta",
            "mmrlhf_api.models": "Adapter ModelSource Trainable",
            "mmrlhf_api.pod": "EnvVar PodTemplate SecretKeyRef Toleration",
            "mmrlhf_api.policy": "FailureRule RunPolicy",
            "mmrlhf_api.resources": "Resources",
            "mmrlhf_api.scheduling": "Scheduling",
            "mmrlhf_api.serialization": "job_dict job_json run_digest spec_digest training_digest",
            "mmrlhf_api.status": (
                "ArtifactStatus Condition EndedWell JobStatus OutputStatus PodCounts Progress"
                " Reporter"
            ),
            "mmrlhf_api.storage": "ArtifactStore",
            "mmrlhf_api.tracking": "MlflowTracking Tracking TrainTracking WandbTracking",
            "mmrlhf_api.training": "Checkpoint Optimizer Parallelism Recompute Training",
        },
    )

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

"""Reasons of conditions that only the operator gives, besides those of ``mmrlhf_api.constants``."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["OperatorReason", "RunReason", "SweepReason"]


class OperatorReason(StrEnum):
    """Why a job is not accepted, or not under way; the set is closed."""

    CHECKING = "Checking"
    """Secrets, buckets, data and model are being looked up, before a GPU is taken."""
    NODE_POOL_UNKNOWN = "NodePoolUnknown"
    """The operator's configuration has no such node pool."""
    NAME_TOO_LONG = "NameTooLong"
    """The names of the pods would be longer than Kubernetes allows."""
    NAME_CONFLICT = "NameConflict"
    """An object of a name that the job needs belongs to someone else."""
    SPEC_CHANGED = "SpecChanged"
    """The spec was changed after the job had started; it goes on as it was accepted."""
    POLICY_REFUSED = "PolicyRefused"
    """The spec names what the operator's configuration does not allow in this namespace."""
    IMAGE_UNSET = "ImageUnset"
    """Neither the spec nor the operator's configuration names an image."""
    GANG_UNAVAILABLE = "GangUnavailable"
    """The gang provider or queue that the spec names is not supported here."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, no secret
    """A Secret that the spec names does not exist."""
    SECRET_INCOMPLETE = "SecretIncomplete"  # noqa: S105 - a reason, no secret
    """A Secret lacks a key that the job needs."""
    STORAGE_DENIED = "StorageDenied"
    """The object store refuses the job's credentials."""
    STORAGE_UNREACHABLE = "StorageUnreachable"
    """The object store does not answer."""
    BUCKET_MISSING = "BucketMissing"
    """The bucket for the artifacts does not exist."""
    DATA_MISSING = "DataMissing"
    """A data set or side-car that the spec names does not exist."""
    MODEL_INCOMPLETE = "ModelIncomplete"
    """The model's folder lacks config.json."""
    WRITE_FAILS = "WriteFails"
    """A request of the operator fails and is made again; the message has the server's words."""
    WRITE_DONE = "WriteDone"
    """What had failed for a while was done."""
    CREATION_REFUSED = "CreationRefused"
    """The API server refuses to create an object of the job, for instance for a quota."""


class RunReason(StrEnum):
    """Why a run of a pipeline, or a step of one, is where it is; the set is closed."""

    STEPS_RUN = "StepsRun"
    """Jobs of steps run, or are about to."""
    STEP_FAILED = "StepFailed"
    """A step has failed, and nothing runs any more; the message says which and why."""
    STOPPING = "Stopping"
    """The run was cancelled, and its jobs have not all ended yet."""
    RETRIED = "Retried"
    """What had failed runs once more."""
    JOB_MADE = "JobMade"
    """It was decided that a step runs."""
    JOB_DELETED = "JobDeleted"
    """Somebody deleted the job of a step."""
    CACHED = "Cached"
    """The result of an earlier run was taken."""
    LOOKING = "LookingUp"
    """What a step reads, or the result of an earlier run, is being looked up."""
    WAITING_FOR_STEPS = "WaitingForSteps"
    """Steps that it needs have not succeeded yet."""
    NEED_FAILED = "NeedFailed"
    """A step that it needs did not succeed."""
    READY = "Ready"
    """Everything that a step needs is there."""


class SweepReason(StrEnum):
    """Why a sweep, or a point of one, is where it is, beside those of runs; the set is closed."""

    POINTS_RUN = "PointsRun"
    """Jobs of points run, or are about to."""
    WAITING_FOR_TURN = "WaitingForTurn"
    """As many jobs run as spec.parallelism lets."""
    STOPPED_EARLY = "StoppedEarly"
    """A point did badly and was ended by spec.earlyStop."""
    NOT_MEASURED = "NotMeasured"
    """A job has succeeded and left no figure of the name in spec.objective."""
    NO_POINT_MEASURED = "NoPointMeasured"
    """All points have ended, and none has the figure that spec.objective names."""

"""Names that the operator, the jobs and the CLI agree on."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ANNOTATION_POLICY_JOB",
    "ANNOTATION_REWARD_JOB",
    "ANNOTATION_STEP_JOB",
    "API_VERSION",
    "CATEGORY",
    "CONTAINER",
    "DEFAULT_JOB_PATH",
    "DEFAULT_TERMINATION_PATH",
    "ENV_ATTEMPT",
    "ENV_FRESH",
    "ENV_GANG_TIMEOUT",
    "ENV_HANG_TIMEOUT",
    "ENV_IMAGE",
    "ENV_JOB",
    "ENV_KEEP_LOGS",
    "ENV_PROGRESS_FILE",
    "ENV_PROGRESS_URL",
    "ENV_STORAGE_OUTAGE",
    "ENV_TERMINATION_FILE",
    "ENV_TOKEN_FILE",
    "ENV_WATCH",
    "GROUP",
    "LABEL_ATTEMPT",
    "LABEL_INDEX",
    "LABEL_JOB",
    "LABEL_KIND",
    "LABEL_MANAGED_BY",
    "MANAGER",
    "VERSION",
    "ConditionType",
    "FailureReason",
    "GateOutcome",
    "Phase",
    "Reason",
]

GROUP = "mmrlhf.io"
"""API group of all kinds."""
VERSION = "v1alpha1"
"""API version of all kinds."""
API_VERSION = f"{GROUP}/{VERSION}"
"""``apiVersion`` of all kinds."""
CATEGORY = "mmrlhf"
"""``kubectl get mmrlhf`` lists all kinds."""
MANAGER = "mmrlhf-operator"
"""Field manager of server-side apply and value of the managed-by label."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
"""Marks everything that the operator made; its watches select by it on the server."""
LABEL_KIND = f"{GROUP}/kind"
"""Kind of the job that an object belongs to, such as MMDPOJob."""
LABEL_JOB = f"{GROUP}/job-name"
"""Name of the job that an object belongs to."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
"""Attempt that a pod belongs to, from 0."""
LABEL_INDEX = f"{GROUP}/index"
"""Index of a pod in its attempt, from 0; it is the node rank."""
CONTAINER = "job"
"""Name of the container that runs the job in a pod."""
ANNOTATION_POLICY_JOB = f"{GROUP}/policy-job"
"""In the job file of a pod: the MMDPOJob, as ``name/uid``, whose model answers."""
ANNOTATION_REWARD_JOB = f"{GROUP}/reward-job"
"""In the job file of a pod: the RewardTrainJob, as ``name/uid``, whose model the reward is."""
ANNOTATION_STEP_JOB = f"{GROUP}/step-job"
"""In the job file of a pod: the StepJob, as ``name/uid``, whose output it takes."""

ENV_JOB = "MMRLHF_JOB"
"""Path of the job file that a process reads; ``--job`` overrides it."""
DEFAULT_JOB_PATH = "/etc/mmrlhf/job.json"
"""Where the job file is mounted in a pod."""
ENV_PROGRESS_FILE = "MMRLHF_PROGRESS_FILE"
"""File to which rank 0 appends its progress, one JSON object a line."""
ENV_PROGRESS_URL = "MMRLHF_PROGRESS_URL"
"""Where rank 0 posts its progress, in a cluster."""
ENV_TOKEN_FILE = "MMRLHF_TOKEN_FILE"  # noqa: S105 - the name of a file
"""File with the token that rank 0 shows when it posts."""
ENV_TERMINATION_FILE = "MMRLHF_TERMINATION_FILE"
"""File to which the first failing rank writes why the job failed, as one JSON object:
``{"exitCode": 2, "reason": "InvalidInput", "message": "..."}``; the first writer wins."""
DEFAULT_TERMINATION_PATH = "/dev/termination-log"
"""Where Kubernetes reads a container's termination message."""
ENV_GANG_TIMEOUT = "MMRLHF_GANG_TIMEOUT_SECONDS"
"""Seconds that a node waits for node 0 to listen."""
ENV_HANG_TIMEOUT = "MMRLHF_HANG_TIMEOUT_SECONDS"
"""Seconds that no process may get on in a step, from ``runPolicy`` as it was when the attempt
began."""
ENV_WATCH = "MMRLHF_WATCH"
"""Folder in which the processes of a node tell its launcher where they are."""
ENV_IMAGE = "MMRLHF_IMAGE"
"""Image that the container runs, for the record of the run."""
ENV_ATTEMPT = "MMRLHF_ATTEMPT"
"""Number of the attempt, from 0."""
ENV_STORAGE_OUTAGE = "MMRLHF_STORAGE_OUTAGE_SECONDS"
"""Seconds that processes wait for a store that is away, from ``runPolicy`` as it was when the
attempt began; the job file has it as it was when the job was accepted."""
ENV_KEEP_LOGS = "MMRLHF_KEEP_LOGS"
"""``0`` keeps no logs in the artifact store, as ``runPolicy`` said when the attempt began."""
ENV_FRESH = "MMRLHF_FRESH"
"""``1`` starts over: checkpoints of earlier runs of the same job are neither used nor kept."""


class Phase(StrEnum):
    """Where a job is in its life; terminal phases are never left."""

    PENDING = "Pending"
    """Accepted, waiting for nodes, quota or images."""
    STARTING = "Starting"
    """Some pods run; the others or the process group are not ready yet."""
    RUNNING = "Running"
    """All pods run."""
    RESTARTING = "Restarting"
    """An attempt failed and the next one waits or starts."""
    SUSPENDED = "Suspended"
    """Stopped by runPolicy.suspend."""
    SUCCEEDED = "Succeeded"
    """Finished; terminal."""
    FAILED = "Failed"
    """Failed for good; terminal."""


class ConditionType(StrEnum):
    """Types of the conditions in a job's status; the set is closed."""

    ACCEPTED = "Accepted"
    """The spec is valid and understood."""
    DEPENDENCIES_READY = "DependenciesReady"
    """Every job that this one names has succeeded; absent where it names none."""
    SCHEDULED = "Scheduled"
    """All pods have nodes."""
    RUNNING = "Running"
    """All pods run."""
    PROGRESSING = "Progressing"
    """Steps finish within the stall timeout."""
    RESTARTING = "Restarting"
    """A new attempt is due or starting."""
    BLOCKED = "Blocked"
    """A request that the operator makes for the job fails again and again; absent where none ever
    did."""
    SUSPENDED = "Suspended"
    """Stopped by runPolicy.suspend."""
    SUCCEEDED = "Succeeded"
    """The job finished; terminal."""
    PROMOTED = "Promoted"
    """The candidate of a gate has shown all that was asked; absent of all that are no gates."""
    FAILED = "Failed"
    """The job failed for good; terminal."""


class GateOutcome(StrEnum):
    """What becomes of a candidate, and the reason of its gate's condition ``Promoted``."""

    PROMOTED = "Promoted"
    """It has shown all that was asked."""
    REJECTED = "Rejected"
    """It has not, by what was measured."""
    CANNOT_JUDGE = "CannotJudge"
    """What was measured does not do; the champion stays."""


class FailureReason(StrEnum):
    """Why an attempt failed; the set is closed, and failure rules name its members."""

    INVALID_INPUT = "InvalidInput"
    """The job file, data or model is wrong (exit 2)."""
    APPLICATION_ERROR = "ApplicationError"
    """A process ended with an exit code from 1 to 127."""
    KILLED = "Killed"
    """A process ended by a signal (exit 128 and above), not for memory."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A container went over its memory limit."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The image could not be pulled before the deadline."""
    CONFIG_ERROR = "ConfigError"
    """A container could not be configured, for instance for a missing Secret."""
    STORAGE_FULL = "StorageFull"
    """A volume or the artifact store is full."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    """The object store was away for longer than runPolicy.storageOutageSeconds (exit 157)."""
    PREEMPTED = "Preempted"
    """A pod made way for one of higher priority."""
    EVICTED = "Evicted"
    """A pod was evicted from its node."""
    NODE_LOST = "NodeLost"
    """A node is gone or unreachable."""
    NODE_REFUSED = "NodeRefused"
    """The kubelet of a node refused a pod: devices lost, no room, or the node shuts down."""
    POD_DELETED = "PodDeleted"
    """Someone deleted a pod."""
    NOT_PROMOTED = "NotPromoted"
    """A gate did not promote its candidate, and was told to fail then."""
    STALLED = "Stalled"
    """No step finished within stallTimeoutSeconds, or a process held all others up for
    hangTimeoutSeconds."""
    ACTIVE_DEADLINE_EXCEEDED = "ActiveDeadlineExceeded"
    """The job ran longer than activeDeadlineSeconds."""
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"
    """The pods waited longer than pendingDeadlineSeconds."""


class Reason(StrEnum):
    """Reasons of conditions besides those of failures; the set is closed."""

    VALID = "Valid"
    """The spec is valid."""
    INVALID_SPEC = "InvalidSpec"
    """The spec breaks a rule that the API server did not check."""
    WAITING_FOR_JOB = "WaitingForJob"
    """A job that this one names is not there or has not succeeded yet."""
    DEPENDENCY_FAILED = "DependencyFailed"
    """A job that this one names has failed; this one waits until one of that name succeeds."""
    DEPENDENCIES_SUCCEEDED = "DependenciesSucceeded"
    """The jobs that this one names have succeeded, and their results are used."""
    QUEUED = "Queued"
    """The job waits in its queue."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits a pod; the message says which resource or taint is in the way."""
    WAITING_FOR_PODS = "WaitingForPods"
    """Some pods are not there yet."""
    PODS_REMAIN = "PodsRemain"
    """Pods of an earlier attempt should be gone and are not; the message names what holds them."""
    PULLING_IMAGE = "PullingImage"
    """Some pods pull their image."""
    ALL_PODS_SCHEDULED = "AllPodsScheduled"
    """All pods have nodes."""
    ALL_PODS_RUNNING = "AllPodsRunning"
    """All pods run."""
    SOME_RANKS_REMAIN = "SomeRanksRemain"
    """Some pods have ended well and others run on; the message says which, and for how long."""
    STEPS_ADVANCE = "StepsAdvance"
    """Steps finish."""
    FIRST_STEP_AHEAD = "FirstStepAhead"
    """Rank 0 reports, and no step of this attempt has finished yet."""
    NO_PROGRESS_ARRIVES = "NoProgressArrives"
    """Nothing is heard of rank 0, so that nobody can tell whether steps finish."""
    RESTART_BUDGET_EXHAUSTED = "RestartBudgetExhausted"
    """The last attempt failed, and maxRestarts or maxFreeRestarts is used up."""
    SUSPENDED_BY_USER = "SuspendedByUser"
    """runPolicy.suspend is true."""
    RESUMED = "Resumed"
    """runPolicy.suspend is false again."""
    COMPLETED = "Completed"
    """The job finished and its artifacts are whole."""
    CANCELLED = "Cancelled"
    """runPolicy.cancel is true: the job was cancelled permanently."""

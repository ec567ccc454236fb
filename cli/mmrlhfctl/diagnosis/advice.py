"""What to do about each reason that a job can have, in a sentence.

The page docs/troubleshooting.md has a section for each, which says more; a test holds the two
together.
"""

from __future__ import annotations

from typing import Final

from mmrlhf_api.constants import FailureReason
from mmrlhfctl.program import program_name

__all__ = ["ADVICE", "advice"]

ADVICE: Final[dict[str, str]] = {
    "InvalidSpec": "mend the field that the message names: delete the job, submit the file again",
    "Checking": "nothing: another reason follows within a minute",
    "SecretMissing": "create the Secret in the job's namespace; the job goes on by itself",
    "SecretIncomplete": "add the keys that the message names to the Secret",
    "StorageDenied": "give the credentials the right to list, read and write there",
    "StorageUnreachable": "mend artifacts.endpoint or region, or the way to the store",
    "BucketMissing": "create the bucket, or mend the URI",
    "DataMissing": "upload the data, or mend the URI that the message names",
    "ModelIncomplete": "name the folder that holds config.json, weights and tokenizer",
    "NodePoolUnknown": "submit the job with one of the node pools that the message lists",
    "NameTooLong": "submit the job under a shorter name",
    "NameConflict": "remove the object that the message names, or choose another job name",
    "SpecChanged": "change the spec back, or submit a new job",
    "PolicyRefused": "submit the job without what the message names, or have it allowed",
    "ImageUnset": "set spec.image",
    "GangUnavailable": "remove the field that the message names, or install what it asks for",
    "WaitingForJob": "nothing while the other job is under way; otherwise create it",
    "DependencyFailed": "mend the other job, delete it and create it anew",
    "WaitingForPods": "wait; the pods' own states say more",
    "Unschedulable": "wait for others to end, or submit the job with smaller resources",
    "Queued": "wait, or ask whoever runs the queue for quota",
    "PodsRemain": "have the finalizer's owner let go, or look at the pod's node",
    "PullingImage": "wait: a first pull takes minutes",
    "WriteFails": "mend what the server's words name; the operator tries again by itself",
    "WriteDone": "nothing",
    "CreationRefused": "mend what the server's words name; the operator tries again by itself",
    FailureReason.INVALID_INPUT: "mend what the message names (data, model, field), submit again",
    "ApplicationError": "see the trace in the log of the pod that failed first",
    "Killed": "see the node (dmesg, Xid errors) and the log of the pod that failed first",
    "OutOfMemory": "submit with more resources.memory, or spread the model over more processes",
    "ImagePullFailed": "mend spec.image, or name a podTemplate.imagePullSecrets",
    "ConfigError": "create what the kubelet's words name, and submit again",
    FailureReason.STORAGE_FULL: "raise scratchSize, keep fewer checkpoints, or free the store",
    FailureReason.STORAGE_UNAVAILABLE: "mend the store, or raise runPolicy.storageOutageSeconds",
    "Preempted": "nothing: it goes on when there is room; a priorityClass makes it rarer",
    "Evicted": "nothing; if it comes again, look at the node's conditions",
    "NodeLost": "nothing for the job; mend the node",
    "NodeRefused": "mend or cordon the node that the message names",
    "PodDeleted": "nothing: the gang is restarted; find out who deletes pods",
    FailureReason.NOT_PROMOTED: "see the gate's report, in the folder that the message names",
    "Stalled": "see which rank's log went silent first; raise stallTimeoutSeconds if it is slow",
    "RestartBudgetExhausted": "mend the cause, or raise runPolicy.maxRestarts of the next job",
    "ActiveDeadlineExceeded": "raise runPolicy.activeDeadlineSeconds of the next job",
    "PendingDeadlineExceeded": "raise runPolicy.pendingDeadlineSeconds, or ask for less",
    "Cancelled": "nothing: submit it anew under another name to run it again",
    "SuspendedByUser": "resume it",
    "Completed": "nothing",
    "DependenciesSucceeded": "nothing",
    "Valid": "nothing",
    "AllPodsScheduled": "nothing",
    "AllPodsRunning": "nothing",
    "SomeRanksRemain": "nothing: those that hang are ended; their logs get their stacks",
    "StepsAdvance": "nothing",
    "FirstStepAhead": "nothing: the model and the data are being loaded",
    "NoProgressArrives": "let the pods reach the operator's progress port (DNS, network policy)",
    "Resumed": "nothing",
}
"""By reason."""
_COMMANDS: Final = {
    "SuspendedByUser": "resume",
    "ApplicationError": "logs",
    "Killed": "logs",
    "Stalled": "logs",
}


def advice(reason: str, job: str) -> tuple[str, str]:
    """Return what to do about a reason, and whose section of the page tells more.

    Args:
        reason: The reason; one of another version gets advice that is always right.
        job: Kind and name of the job, as commands take them.
    """
    if reason not in ADVICE:
        return f"see {program_name()} describe {job}", "WaitingForPods"
    command = f": {program_name()} {_COMMANDS[reason]} {job}" if reason in _COMMANDS else ""
    return ADVICE[reason] + command, reason

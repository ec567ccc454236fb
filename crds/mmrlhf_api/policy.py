"""How a job is run, restarted, stopped and cleaned up."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.constants import FailureReason
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import PositiveInt, Seconds

__all__ = ["CleanPodPolicy", "FailureAction", "FailureRule", "RunPolicy"]

FailureAction = Literal["FailJob", "RestartJob", "RestartJobFree"]
CleanPodPolicy = Literal["Running", "All", "None"]
ExitCode = Annotated[int, Ge(1), Le(255)]


class FailureRule(ApiModel):
    """One rule: its action is taken when all that it names fits the first failing pod."""

    exit_codes: (
        Annotated[tuple[ExitCode, ...], Strict(strict=False), MaxLen(255), ListOf("set")] | None
    ) = None
    """Exit codes that fit, 1 to 255; without it, every one."""
    reasons: (
        Annotated[
            tuple[Annotated[FailureReason, Strict(strict=False)], ...],
            Strict(strict=False),
            MaxLen(32),
            ListOf("set"),
        ]
        | None
    ) = None
    """Failure reasons that fit, such as OutOfMemory or NodeLost; without it, every one."""
    action: FailureAction
    """What to do: FailJob ends the job, RestartJob restarts all pods and counts against
    maxRestarts, RestartJobFree restarts against maxFreeRestarts alone."""

    rules = (
        Rule(
            "(has(self.exitCodes) && size(self.exitCodes) > 0)"
            " || (has(self.reasons) && size(self.reasons) > 0)",
            "name at least one of exitCodes and reasons",
            check=lambda self: bool(self.exit_codes or self.reasons),
        ),
    )


class RunPolicy(ApiModel):
    """How the job is run; the one part of a spec that may change after the job was created."""

    suspend: bool = False
    """Stop the pods and keep the job; it goes on from its latest checkpoint once this is false."""
    cancel: bool = False
    """Cancel the job permanently: its pods stop, once they have saved a checkpoint, and the job
    fails with reason Cancelled. It cannot be undone; suspend can."""
    max_restarts: Annotated[int, Ge(0), Le(1000)] = 3
    """Restarts of the whole gang before the job fails; preemption, eviction and node loss are
    free."""
    max_free_restarts: Annotated[int, Ge(0), Le(1000)] = 100
    """Restarts free of charge in a row before the job fails; an attempt that had its nodes for ten
    minutes ends the row."""
    backoff_seconds: Seconds = 10
    """Wait before the first restart in seconds; it doubles with each one, with jitter. From the
    fourth on, free or not, no wait is shorter than 1 s, 2 s, 4 s and so on up to 300 s."""
    max_backoff_seconds: Seconds = 600
    """Longest wait before a restart in seconds."""
    active_deadline_seconds: PositiveInt | None = None
    """Seconds the job may run, restarts included and suspension not; then it fails."""
    pending_deadline_seconds: PositiveInt | None = None
    """Seconds the pods may wait for nodes, quota or images, over all attempts since one last ran;
    then the job fails."""
    storage_outage_seconds: Annotated[int, Ge(0), Le(480)] = 300
    """Seconds that processes wait for an S3 service that does not answer; then the attempt fails
    with StorageUnavailable, which is retried. A change takes effect with the next attempt. NCCL
    lets the other processes wait for 600 seconds at most."""
    keep_logs: bool = True
    """Whether the logs of all nodes are kept in the artifact store while they are written. A change
    takes effect with the next attempt."""
    stall_timeout_seconds: PositiveInt | None = None
    """Seconds without a finished step; then the attempt counts as failed and is restarted."""
    hang_timeout_seconds: Annotated[int, Ge(10), Le(86400)] = 300
    """Seconds that no process gets on within a step, three times as many in an attempt's first;
    then the attempt ends as Stalled and names the process at fault. Loading, checkpoints and
    evaluation are not timed. Processes that die or are stopped end it within seconds. A change
    takes effect with the next attempt."""
    ttl_seconds_after_finished: Seconds | None = None
    """Seconds after its end when the job is deleted with its pods; artifacts stay."""
    clean_pod_policy: CleanPodPolicy = "Running"
    """Pods to delete when the job has ended: those still running, all, or none. Those of a job that
    was cancelled never go on running."""
    failure_rules: Annotated[
        tuple[FailureRule, ...], Strict(strict=False), MaxLen(32), ListOf("atomic")
    ] = ()
    """Rules tried in order against the first failing pod; where none fits, the built-in policy
    decides: invalid input and exit 1-127 are permanent, 128 and above are retried (a store that is
    away among them), running out of memory is permanent, disruptions restart free of charge."""

    rules = (
        Rule(
            "self.maxBackoffSeconds >= self.backoffSeconds",
            "maxBackoffSeconds must be at least backoffSeconds",
            field="maxBackoffSeconds",
            check=lambda self: self.max_backoff_seconds >= self.backoff_seconds,
            detail="must be at least backoffSeconds ({self.backoff_seconds})",
        ),
        Rule("self.cancel || !oldSelf.cancel", "cancel cannot be taken back; create a new job"),
    )

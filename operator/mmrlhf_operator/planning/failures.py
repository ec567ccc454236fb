"""Why an attempt failed, and what to do about it.

The first failing pod decides. It is known only when the others have ended too or had time to: a
pod whose peer is on a lost node fails within seconds, while the cluster takes most of a minute to
notice the node. What explains itself (invalid input, out of memory, a disruption) is judged at
once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from mmrlhf_api import RunPolicy
from mmrlhf_api.constants import CONTAINER, FailureReason
from mmrlhf_api.policy import FailureAction
from mmrlhf_api.termination import Ending, failure_reason
from mmrlhf_operator.planning.causes import taken_away
from mmrlhf_operator.state.containers import Waiting
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Observed, after

__all__ = ["BUILT_IN", "Failure", "Verdict", "action_for", "judge", "waiting_words"]

BUILT_IN: Mapping[FailureReason, FailureAction] = MappingProxyType(
    {
        FailureReason.INVALID_INPUT: "FailJob",
        FailureReason.APPLICATION_ERROR: "FailJob",
        FailureReason.OUT_OF_MEMORY: "FailJob",
        FailureReason.IMAGE_PULL_FAILED: "FailJob",
        FailureReason.CONFIG_ERROR: "FailJob",
        FailureReason.STORAGE_FULL: "FailJob",
        FailureReason.NOT_PROMOTED: "FailJob",
        FailureReason.ACTIVE_DEADLINE_EXCEEDED: "FailJob",
        FailureReason.PENDING_DEADLINE_EXCEEDED: "FailJob",
        FailureReason.STORAGE_UNAVAILABLE: "RestartJob",
        FailureReason.KILLED: "RestartJob",
        FailureReason.STALLED: "RestartJob",
        FailureReason.PREEMPTED: "RestartJobFree",
        FailureReason.EVICTED: "RestartJobFree",
        FailureReason.NODE_LOST: "RestartJobFree",
        FailureReason.NODE_REFUSED: "RestartJobFree",
        FailureReason.POD_DELETED: "RestartJobFree",
    }
)
"""What is done about a failure that no rule of the job's own fits."""
_OWN_FAULT = frozenset(
    {FailureReason.INVALID_INPUT, FailureReason.OUT_OF_MEMORY, FailureReason.STORAGE_FULL}
)
"""Failures that no peer's end can cause."""
_FREE = frozenset(reason for reason, action in BUILT_IN.items() if action == "RestartJobFree")
_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)
_CONFIG_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
# The end of what torchrun logs: `exitcode  : -9 (pid: 71)` of the first process that failed.
_TORCHRUN = re.compile(r"exitcode\s*:\s*(-?\d+)")
_MAX_MESSAGE = 1024


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt failed.

    Attributes:
        reason: One word.
        message: For people.
        exit_code: Exit code of the process, where one ended.
        at: When it happened.
        symptom: Whether the process itself blames another one of the job.
        node: Node on which it happened.
    """

    reason: FailureReason
    message: str
    exit_code: int | None = None
    at: datetime
    symptom: bool = False
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an attempt failed.

    Attributes:
        failure: The first failure, None while there is none or it is not certain.
        decide_at: When a failure that is not certain yet will be judged all the same.
    """

    failure: Failure | None = None
    decide_at: datetime | None = None


def judge(
    observed: Observed,
    *,
    attempt: int,
    missing: Sequence[str],
    total: int,
    now: datetime,
    settle: float,
) -> Verdict:
    """Say whether and why an attempt failed.

    Args:
        observed: Its pods.
        attempt: The attempt.
        missing: Names of pods that were there and are not any more.
        total: Pods of the attempt.
        now: Time of the decision.
        settle: Seconds after the first failure in which the other pods may show theirs.
    """
    pods = observed.pods_of(attempt)
    failures = [failure for pod in pods if (failure := _failure_of(pod, observed, now))]
    failures.extend(
        Failure(reason=FailureReason.POD_DELETED, message=f"pod {name} was deleted", at=now)
        for name in missing
    )
    if not failures:
        return Verdict()
    decide_at = after(min(failure.at for failure in failures), settle)
    first = min(failures, key=lambda failure: (failure.symptom, failure.at))
    if first.reason not in _OWN_FAULT:
        # The peers of a pod that is taken away end with errors of their own, often before it does.
        disruptions = (failure for failure in failures if failure.reason in _FREE)
        taken = min(disruptions, key=lambda failure: failure.at, default=None)
        if taken is not None and taken.at <= decide_at:
            return Verdict(failure=taken)
    everyone_ended = len(pods) == total and all(pod.ended for pod in pods)
    if first.reason in _OWN_FAULT or everyone_ended or now >= decide_at:
        return Verdict(failure=first)
    return Verdict(decide_at=decide_at)


def action_for(failure: Failure, policy: RunPolicy) -> FailureAction:
    """Return what the job's own rules, tried in order, or else the built-in policy say."""
    for rule in policy.failure_rules:
        codes_fit = not rule.exit_codes or failure.exit_code in rule.exit_codes
        reasons_fit = not rule.reasons or failure.reason in rule.reasons
        if codes_fit and reasons_fit:
            return rule.action
    return BUILT_IN[failure.reason]


def blocking_reason(pod: PodView) -> FailureReason | None:
    """Return what keeps a pod's container from starting if waiting alone will hardly help."""
    if pod.waiting is None:
        return None
    if pod.waiting.reason in _IMAGE_REASONS:
        return FailureReason.IMAGE_PULL_FAILED
    if pod.waiting.reason in _CONFIG_REASONS:
        return FailureReason.CONFIG_ERROR
    return None


def waiting_words(waiting: Waiting) -> str:
    """What keeps a container from starting, with its name where it is not the job's own."""
    beside = "" if waiting.container in {"", CONTAINER} else f"container {waiting.container}: "
    return f"{beside}{waiting.reason}: {waiting.message}"


def _failure_of(pod: PodView, observed: Observed, now: datetime) -> Failure | None:
    if pod.succeeded:
        return None
    taken = _taken_away(pod, observed, now)
    if taken is not None:
        return taken
    if pod.end is not None and pod.end.exit_code != 0:
        return _ended(pod, now)
    return None


def _taken_away(pod: PodView, observed: Observed, now: datetime) -> Failure | None:
    """What the cluster or someone did to the pod, apart from how its container ended."""
    at = pod.ended_since or now
    cause = taken_away(pod)
    if cause is not None:
        reason, told = cause.failure, cause.told
        if pod.disruption is not None:
            at = pod.disrupted_since or at
    elif pod.node is not None and pod.node in observed.lost_nodes:
        reason, told = FailureReason.NODE_LOST, f"node {pod.node} is gone or unreachable"
        at = pod.deleted_since or at
    elif pod.terminating and not pod.ended_first:
        reason, told = FailureReason.POD_DELETED, f"deleted from node {pod.node or '(none)'}"
        at = pod.deleted_since or at
    else:
        return None
    return Failure(reason=reason, message=_cut(f"pod {pod.name}: {told}"), at=at, node=pod.node)


def _ended(pod: PodView, now: datetime) -> Failure:
    end = pod.end
    assert end is not None  # the caller looked
    said = end.said
    exit_code = None if said is None else said.exit_code
    if exit_code is None:
        logged = _TORCHRUN.findall(end.message) if said is None else []
        exit_code = int(logged[-1]) if logged and int(logged[-1]) != 0 else end.exit_code
        if exit_code < 0:
            exit_code = 128 - exit_code
    word = "" if said is None else said.reason
    words = (said and said.message) or end.message.strip() or end.reason
    message = (
        f"container {end.container} of pod {pod.name} ended with exit code {exit_code}"
        f" ({end.reason}): {words}"
    )
    return Failure(
        reason=(
            FailureReason.OUT_OF_MEMORY
            if end.reason == "OOMKilled"
            else failure_reason(word, exit_code)
        ),
        message=_cut(message),
        exit_code=exit_code,
        at=pod.ended_since or now,
        symptom=word == Ending.PEER_LOST,
        node=pod.node,
    )


def _cut(message: str) -> str:
    if len(message) <= _MAX_MESSAGE:
        return message
    half = _MAX_MESSAGE // 2 - 4
    return f"{message[:half]} [...] {message[-half:]}"

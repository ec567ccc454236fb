"""How attempts and jobs end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from mmrlhf_api import ArtifactStatus, Job, OutputStatus, kind_of
from mmrlhf_api.constants import ConditionType, FailureReason, GateOutcome, Phase, Reason
from mmrlhf_api.runs import RunLayout
from mmrlhf_api.termination import TerminationMessage
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.planning.actions import DeleteJob, DeleteService
from mmrlhf_operator.planning.conditions import State
from mmrlhf_operator.planning.deadlines import expiry
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.planning.failures import Failure, action_for
from mmrlhf_operator.planning.kept import older_pods
from mmrlhf_operator.planning.lost import with_lost
from mmrlhf_operator.planning.nodes import avoided_nodes, with_fault
from mmrlhf_operator.planning.queueing import finish
from mmrlhf_operator.planning.removal import remove
from mmrlhf_operator.planning.restarts import backoff, next_restart
from mmrlhf_operator.state.views import Observed, after

__all__ = ["cancel", "clean_up", "fail", "restart_due", "succeed", "succeeded"]

_JOB_DEADLINES = frozenset(
    {FailureReason.ACTIVE_DEADLINE_EXCEEDED, FailureReason.PENDING_DEADLINE_EXCEEDED}
)

_PROMOTED: Mapping[str, State] = MappingProxyType(
    {
        GateOutcome.PROMOTED.value: "True",
        GateOutcome.REJECTED.value: "False",
        GateOutcome.CANNOT_JUDGE.value: "False",
    }
)
"""What the condition of a gate says, by the word that its pod ended with."""


def succeeded(observed: Observed, *, attempt: int, total: int) -> bool:
    """Whether the job's container has ended well in all pods of an attempt."""
    pods = observed.pods_of(attempt)
    return len(pods) == total and all(pod.succeeded for pod in pods)


def succeed(draft: Draft, job: Job, observed: Observed) -> None:
    """End a job whose pods have all succeeded."""
    status = draft.status
    draft.report(observed.progress, seconds=0)
    run = _artifacts(job)
    draft.change(
        artifacts=ArtifactStatus(uri=run.prefix, manifest=run.manifest),
        completion_time=draft.moment,
        node_faults=None,  # nobody asks any more where it went ill
        metrics=_metrics(observed, status.attempt) or status.metrics,
        outputs=_outputs(job, run) or None,
        start_time=_start_time(draft, observed),
    )
    _close(draft, Reason.COMPLETED)
    message = f"artifacts are at {run.prefix}"
    if (said := _tell_promotion(draft, observed)) is not None:
        message = f"{said.reason}: {said.message}; {message}"
    draft.conditions.set(ConditionType.SUCCEEDED, "True", Reason.COMPLETED, message)
    draft.enter(Phase.SUCCEEDED, Reason.COMPLETED, message)
    _release(draft, observed)
    draft.count((), total=job.spec.resources.nodes)


def _tell_promotion(draft: Draft, observed: Observed) -> TerminationMessage | None:
    """Say what a gate has said of its candidate; return it, None where nothing is a gate."""
    for pod in observed.pods_of(draft.status.attempt):
        said = None if pod.end is None else pod.end.said
        if said is not None and said.reason in _PROMOTED:
            state = _PROMOTED[said.reason]
            told = said.message.removeprefix(f"{said.reason}: ")
            draft.conditions.set(ConditionType.PROMOTED, state, said.reason, told)
            return said
    return None


def _outputs(job: Job, run: RunLayout) -> tuple[OutputStatus, ...]:
    """What others may take of the job by name."""
    return tuple(
        OutputStatus(name=one.name, content=one.content, uri=f"{run.prefix}/{one.path}")
        for one in kind_of(job).outputs(job.spec)
    )


def fail(
    draft: Draft, job: Job, failure: Failure, observed: Observed, config: OperatorConfig
) -> None:
    """Restart a job whose attempt failed, or end it: rules, policy and budgets decide."""
    policy = job.spec.run_policy
    draft.change(lost=with_lost(draft.status, failure.reason, now=draft.moment))
    status = draft.status
    action = "FailJob" if failure.reason in _JOB_DEADLINES else action_for(failure, policy)
    if action == "FailJob":
        _end_in_failure(draft, job, failure.reason, failure.message, observed)
        return
    next_one = next_restart(policy, status, counts=action == "RestartJob", now=draft.now)
    if next_one.exhausted is not None:
        message = (
            f"attempt {status.attempt} failed ({failure.reason}) and {next_one.exhausted}:"
            f" {failure.message}"
        )
        _end_in_failure(draft, job, Reason.RESTART_BUDGET_EXHAUSTED, message, observed)
        return
    draft.report(observed.progress, seconds=0)
    faults = with_fault(status, failure)
    message = f"attempt {status.attempt} failed, {next_one.cost}: {failure.message}"
    if failure.node in avoided_nodes(status.model_copy(update={"node_faults": faults}), config):
        message += f"; new pods prefer other nodes than {failure.node}"
    if faults:
        draft.change(node_faults=faults)
    draft.change(
        attempt=next_one.attempt,
        restarts=next_one.restarts,
        free_restarts=next_one.free or None,
    )
    draft.end_attempt(failure.reason, message)
    draft.conditions.set(ConditionType.RESTARTING, "True", failure.reason, message)
    draft.enter(Phase.RESTARTING, failure.reason, message)
    draft.count((), total=job.spec.resources.nodes)
    remove(draft, (p for p in observed.pods if not p.finished), observed, config)
    draft.wake(restart_due(draft, job))


def cancel(draft: Draft, job: Job | None, observed: Observed) -> None:
    """End a job that was given up; its pods save a checkpoint while `clean_up` stops them.

    Args:
        draft: The plan in the making.
        job: The job; None when its spec is not valid, and so it never ran or nobody knows how.
        observed: The observed cluster state.
    """
    message = "runPolicy.cancel is true; pods that run are stopped and save a checkpoint first"
    _end_in_failure(draft, job, Reason.CANCELLED, message, observed)


def restart_due(draft: Draft, job: Job) -> datetime | None:
    """Return when the next attempt may start; None when none is due."""
    restarting = draft.conditions.find(ConditionType.RESTARTING)
    if restarting is None or restarting.status != "True":
        return None
    status = draft.status
    seconds = backoff(
        job.spec.run_policy,
        uid=draft.view.uid,
        attempt=status.attempt,
        restarts=status.restarts,
        free=status.free_restarts or 0,
    )
    return after(restarting.last_transition_time, seconds)


def clean_up(draft: Draft, observed: Observed, config: OperatorConfig) -> None:
    """Clean up; the status stays as it is, and nothing is ever created again."""
    job = draft.view.accepted
    policy = None if job is None else job.spec.run_policy  # None: nobody can say what it is
    which = "None" if policy is None else policy.clean_pod_policy
    if which == "None" and draft.view.status.reason == Reason.CANCELLED:
        which = "Running"  # that is what the user asked for
    doomed = {
        "All": observed.pods,
        "Running": tuple(entry for entry in observed.pods if not entry.finished),
        # What runs on beside a job that has ended would keep the node.
        "None": tuple(entry for entry in observed.pods if entry.ended and not entry.finished),
    }[which]
    older = older_pods(observed.pods)
    remove(draft, (*doomed, *(pod for pod in older if pod not in doomed)), observed, config)
    finish(draft, observed)
    _release(draft, observed)
    expires = None if policy is None else expiry(policy, draft.view.status)
    if expires is None:
        return
    if draft.now >= expires:
        draft.actions.append(DeleteJob(uid=draft.view.uid))
    else:
        draft.wake(expires)


def _release(draft: Draft, observed: Observed) -> None:
    """Give up what pods that have all ended do not need: their names count in quotas."""
    service = observed.service
    if service is not None and all(pod.finished for pod in observed.pods):
        draft.actions.append(DeleteService(name=service.name, uid=service.uid))


def _end_in_failure(
    draft: Draft, job: Job | None, reason: str, message: str, observed: Observed
) -> None:
    draft.report(observed.progress, seconds=0)
    began = _start_time(draft, observed)
    draft.change(completion_time=draft.moment, start_time=began)
    if job is not None:
        draft.count((), total=job.spec.resources.nodes)
        if began is not None:
            draft.change(artifacts=ArtifactStatus(uri=_artifacts(job).prefix))
    _close(draft, reason)
    _tell_promotion(draft, observed)
    draft.conditions.set(ConditionType.FAILED, "True", reason, message)
    draft.enter(Phase.FAILED, reason, message)
    _release(draft, observed)


def _start_time(draft: Draft, observed: Observed) -> datetime | None:
    """When the first pod ran; None when none did. One may have run since it was last told."""
    pods = observed.pods_of(draft.status.attempt)
    began = [entry.begun_since for entry in pods if entry.begun_since is not None]
    return draft.status.start_time or (whole(min(began)) if began else None)


def _close(draft: Draft, reason: str) -> None:
    draft.change(pending_since=None, ended_well=None)
    for kind in (
        ConditionType.RUNNING,
        ConditionType.PROGRESSING,
        ConditionType.RESTARTING,
        ConditionType.BLOCKED,
        ConditionType.SUSPENDED,
    ):
        draft.conditions.clear(kind, reason)


def _artifacts(job: Job) -> RunLayout:
    return RunLayout.of(job).within(job.spec.artifacts.uri)


def _metrics(observed: Observed, attempt: int) -> dict[str, float]:
    report = observed.progress
    if report is not None and report.attempt == attempt and report.metrics:
        return dict(report.metrics)
    return {}

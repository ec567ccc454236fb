"""An attempt of a job: its pods are created once the way is free, and then watched."""

from __future__ import annotations

from mmrlhf_api import Job, Reporter
from mmrlhf_api.constants import ConditionType, Phase, Reason
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.timestamps import whole
from mmrlhf_operator.planning.acceptance import Acceptance
from mmrlhf_operator.planning.actions import Create
from mmrlhf_operator.planning.done import note_done
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.planning.endings import restart_due
from mmrlhf_operator.planning.kept import kept_pods
from mmrlhf_operator.planning.nodes import avoided_nodes
from mmrlhf_operator.planning.progress import tell_progress
from mmrlhf_operator.planning.queueing import as_gang
from mmrlhf_operator.planning.refusals import refusal
from mmrlhf_operator.planning.removal import remove, stuck_words
from mmrlhf_operator.planning.waiting import why_not_running, why_not_scheduled
from mmrlhf_operator.rendering.manifests import config_map, pod, service
from mmrlhf_operator.rendering.names import pod_name
from mmrlhf_operator.rendering.network import network_policy
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Finding, Observed, after

__all__ = ["begin", "clear_previous_attempt", "create_missing", "describe"]

_RETRY_SECONDS = 30.0
_MOST_NAMED = 8


def clear_previous_attempt(
    draft: Draft, job: Job, observed: Observed, config: OperatorConfig
) -> bool:
    """Wait out the back-off and for the pods of other attempts to go; True when the way is free."""
    due = restart_due(draft, job)
    waits = due is not None and draft.now < due
    attempt = draft.status.attempt
    kept = kept_pods(observed.pods, attempt=attempt)
    old = tuple(pod for pod in observed.pods_besides(attempt) if pod not in kept)
    # While creations are refused, what is kept may be what fills a quota of objects.
    refused = refusal(draft, observed, total=job.spec.resources.nodes) is not None
    remove(draft, (p for p in kept if refused or p.terminating), observed, config)
    remove(draft, (p for p in old if not (waits and p.finished)), observed, config)
    if waits:
        draft.wake(due)
    if old and not waits:
        draft.wait_from_now()
    stuck = None if waits else stuck_words(old, draft.now)
    if stuck is not None:
        draft.conditions.set(ConditionType.SCHEDULED, "False", Reason.PODS_REMAIN, stuck)
        phase = draft.view.status.phase
        draft.enter(
            phase if phase is Phase.RESTARTING else Phase.PENDING, Reason.PODS_REMAIN, stuck
        )
        draft.count((), total=job.spec.resources.nodes)
        return False
    if waits or old:
        restarting = draft.conditions.find(ConditionType.RESTARTING)
        if restarting is not None and restarting.status == "True":
            draft.enter(Phase.RESTARTING, restarting.reason, restarting.message)
        else:
            message = "pods of an earlier attempt are not gone yet"
            draft.enter(Phase.PENDING, Reason.WAITING_FOR_PODS, message)
        draft.count((), total=job.spec.resources.nodes)
        return False
    return True


def begin(draft: Draft) -> None:
    """Say that the current attempt has begun, if it comes after one that failed."""
    draft.conditions.clear(
        ConditionType.RESTARTING,
        Reason.WAITING_FOR_PODS,
        f"attempt {draft.status.attempt} has started",
    )


def create_missing(
    draft: Draft,
    acceptance: Acceptance,
    job: Job,
    observed: Observed,
    config: OperatorConfig,
) -> None:
    """Create what the current attempt lacks; what exists already is left as it is."""
    if not acceptance.may_create:
        draft.wake(after(draft.now, _RETRY_SECONDS))
        return
    if observed.retry_at is not None and draft.now < observed.retry_at:
        draft.wake(observed.retry_at)
        return
    attempt = draft.status.attempt
    there = {entry.index for entry in observed.pods_of(attempt)}
    avoided = avoided_nodes(draft.status, config)
    if observed.config_map is None:
        draft.actions.append(Create(manifest=config_map(job)))
    if config.network_policies and observed.network_policy is None:
        draft.actions.append(Create(manifest=network_policy(job)))
    if observed.service is None:
        draft.actions.append(Create(manifest=service(job)))
    if draft.conditions.holds(ConditionType.SCHEDULED):
        return
    if config.prices is not None and draft.status.price is None:
        draft.change(price=config.prices.at(job.spec.node_pool))
    missing = [
        pod(
            job,
            attempt=attempt,
            index=index,
            config=config,
            stem=draft.status.pod_stem,
            avoided=avoided,
        )
        for index in range(job.spec.resources.nodes)
        if index not in there
    ]
    draft.actions.extend(as_gang(draft, missing, job, observed, config))


def describe(
    draft: Draft, acceptance: Acceptance, job: Job, observed: Observed, config: OperatorConfig
) -> None:
    """Say how far the current attempt is."""
    total = job.spec.resources.nodes
    attempt = draft.status.attempt
    pods = observed.pods_of(attempt)
    draft.count(pods, total=total)
    refused = refusal(draft, observed, total=total) or next(iter(observed.conflicts), None)
    unscheduled = why_not_scheduled(observed, attempt=attempt, total=total)
    if unscheduled is None:
        draft.conditions.set(ConditionType.SCHEDULED, "True", Reason.ALL_PODS_SCHEDULED)
    elif not draft.conditions.holds(ConditionType.SCHEDULED):
        _deny(draft, ConditionType.SCHEDULED, refused or unscheduled)
    idle = why_not_running(observed, attempt=attempt, total=total)
    _recognise(draft, observed)
    note_done(draft, pods)
    began = [entry.begun_since for entry in pods if entry.begun_since is not None]
    if began and draft.status.start_time is None:
        draft.change(start_time=whole(min(began)))
    if idle is None:
        draft.conditions.set(ConditionType.RUNNING, "True", Reason.ALL_PODS_RUNNING)
    elif not _stays_running(draft, pods):
        _deny(draft, ConditionType.RUNNING, refused or idle)
    tell_progress(draft, job.spec.run_policy, observed, config)
    phase, why = _phase(draft, pods, refused or idle, config)
    if phase is Phase.RUNNING:
        draft.change(pending_since=None)
    why = acceptance.finding or why
    draft.enter(phase, why.reason, why.message)


def _recognise(draft: Draft, observed: Observed) -> None:
    """Write down which pod was made as the first: progress is taken from no other.

    What an operator made and could not write down, as it ended, is recognised by its name once.
    """
    attempt = draft.status.attempt
    name = pod_name(draft.stem, attempt=attempt, index=0)
    uid = observed.made.get(name)
    known = draft.status.reporter
    if uid is None and name in observed.perhaps_made and (known is None or known.attempt < attempt):
        uid = next((pod.uid for pod in observed.pods_of(attempt) if pod.name == name), None)
    if uid is not None:
        draft.change(reporter=Reporter(attempt=attempt, uid=uid))


def _stays_running(draft: Draft, pods: tuple[PodView, ...]) -> bool:
    # A pod that ended badly is no longer running; one whose kubelet is silent may well be.
    return draft.conditions.holds(ConditionType.RUNNING) and not any(entry.failed for entry in pods)


def _deny(draft: Draft, kind: ConditionType, finding: Finding) -> None:
    draft.conditions.set(kind, "False", finding.reason, finding.message)


def _phase(
    draft: Draft, pods: tuple[PodView, ...], idle: Finding | None, config: OperatorConfig
) -> tuple[Phase, Finding]:
    if draft.conditions.holds(ConditionType.RUNNING):
        return Phase.RUNNING, _ranks_left(pods, config)
    assert idle is not None  # otherwise all run
    if draft.view.status.phase is Phase.RUNNING and any(p.failed for p in pods):
        return Phase.RUNNING, idle  # until the failure is judged
    if any(entry.running for entry in pods):
        return Phase.STARTING, idle
    return Phase.PENDING, idle


def _ranks_left(pods: tuple[PodView, ...], config: OperatorConfig) -> Finding:
    """That all run; or that some have ended well, which others may wait for in vain."""
    done = [entry.name for entry in pods if entry.succeeded]
    left = [entry.name for entry in pods if not entry.ended]
    if not done or not left:
        return Finding(reason=Reason.ALL_PODS_RUNNING, message="")
    return Finding(
        reason=Reason.SOME_RANKS_REMAIN,
        message=(
            f"{len(done)} of {len(pods)} pods have ended well, and {', '.join(left[:_MOST_NAMED])}"
            f" run on; where nothing advances for {config.deadlines.last_ranks} s, they hang"
        ),
    )

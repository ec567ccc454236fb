"""A job among others: it waits until its queue admits it, and makes way when it is evicted.

With Kueue, the Workload is made once, as soon as the job may start, and goes with the job. Its
quota is held over restarts; it is given back when Kueue asks for it, when the user suspends the
job, and at the end. Volcano and coscheduling hold pods back themselves, and are told which are one
gang. Without a provider, all here does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrlhf_api import Job
from mmrlhf_api.constants import ConditionType, FailureReason, Phase, Reason
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.gangs import kueue, podgroups
from mmrlhf_operator.gangs.providers import Provider, choose
from mmrlhf_operator.planning.acceptance import Acceptance
from mmrlhf_operator.planning.actions import (
    Create,
    DeleteWorkload,
    Disband,
    PatchWorkload,
    RankWorkload,
)
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.planning.failures import Failure
from mmrlhf_operator.rendering.manifests import (
    Manifest,
    config_map,
    pod_group,
    priority_class,
    workload,
)
from mmrlhf_operator.rendering.names import gang_name
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import TERMINAL, Finding, Observed, after
from mmrlhf_operator.state.workloads import WorkloadView

__all__ = [
    "admitted",
    "as_gang",
    "disband",
    "eviction",
    "finish",
    "give_place_back",
    "leave",
    "needs_gang",
    "tell_ready",
    "uses_kueue",
]

_FLAVOR_SECONDS = 10.0
"""Until a flavour that cannot be read is looked at again: the job has its quota meanwhile."""
_PRIORITY_SECONDS = 60.0
"""Until a priority that cannot be read is looked at again: the job waits, or runs, meanwhile."""
_HELD = "it was taken out of its queue: its Workload {name} is not active (spec.active)"


def uses_kueue(job: Job, observed: Observed) -> bool:
    """Whether a job waits in a queue of Kueue."""
    provider = choose(job.spec.scheduling, observed.offered).provider
    return provider is not None and provider.name == "kueue"


def eviction(draft: Draft, job: Job, observed: Observed) -> Failure | None:
    """Return why the current attempt must make way; None when nothing asks for it."""
    pods = observed.pods_of(draft.status.attempt)
    queued = [pod for pod in pods if pod.workload is not None]
    if not queued or not uses_kueue(job, observed):
        return None
    known = observed.workload
    if known is None:
        message = f"the Workload {queued[0].workload} is gone, and with it the job's quota"
    elif known.admitted or known.holds("Finished"):
        return None
    else:
        message = _why_evicted(known)
    return Failure(reason=FailureReason.PREEMPTED, message=message, at=draft.now)


def admitted(
    draft: Draft,
    acceptance: Acceptance,
    job: Job,
    observed: Observed,
    config: OperatorConfig,
) -> bool:
    """Whether the pods of an attempt may be created; says what the job waits for if not.

    The first time, the Workload is created, together with the record of what was accepted.
    """
    there = observed.pods_of(draft.status.attempt)
    if not uses_kueue(job, observed) or any(pod.workload is None for pod in there):
        return True
    _rank(draft, job, observed, config)
    waits = _in_the_way(draft, job, observed)
    if waits is None:
        return True
    if observed.workload is None and acceptance.may_create:
        _ask_for_place(draft, job, observed, config)
    give_place_back(draft, observed)
    unranked = _why_unranked(job, observed, config)
    waits = replace(waits, message=f"{waits.message}{unranked}")
    finding = acceptance.finding or next(iter(observed.conflicts), waits)
    draft.change(pending_since=None)  # a place in a queue is no node, quota or image
    draft.conditions.set(ConditionType.SCHEDULED, "False", finding.reason, finding.message)
    draft.enter(Phase.PENDING, finding.reason, finding.message)
    draft.count((), total=job.spec.resources.nodes)
    return False


def as_gang(
    draft: Draft, pods: Sequence[Manifest], job: Job, observed: Observed, config: OperatorConfig
) -> list[Create]:
    """Return what creates the pods that an attempt lacks, with what the job's provider adds."""
    provider = choose(job.spec.scheduling, observed.offered).provider
    if provider is None or not pods:
        return [Create(manifest=pod) for pod in pods]
    if provider.name == "kueue":
        known = observed.workload
        if known is None or not known.admitted:  # it began without a queue, and goes on so
            return [Create(manifest=pod) for pod in pods]
        return [Create(manifest=kueue.place(pod, job, known, observed.flavors)) for pod in pods]
    attempt = draft.status.attempt
    gang = pod_group(provider, job, attempt=attempt, config=config, stem=draft.status.pod_stem)
    group = gang_name(draft.stem, attempt=attempt)
    if attempt > 0:
        draft.actions.append(_disbanded(provider, draft, attempt - 1))
    members = [podgroups.join(provider, pod, group=group) for pod in pods]
    return [Create(manifest=manifest) for manifest in (gang, *members)]


def disband(draft: Draft, job: Job, observed: Observed) -> None:
    """Take back the gang of an attempt that nothing follows at once: its job is suspended or over.

    A scheduler sets resources aside for a gang that waits for its pods (Volcano's ``minResources``
    of a PodGroup that is enqueued), and nobody would create these. Nobody watches PodGroups: this
    is done once, with the change of the phase; what is left all the same `LeftoverGangs` finds.
    """
    before, now = draft.view.status, draft.status.phase
    if now not in {Phase.SUSPENDED, *TERMINAL} or now is before.phase or before.phase is None:
        return
    provider = choose(job.spec.scheduling, observed.offered).provider
    if provider is not None and provider.name != "kueue":
        draft.actions.append(_disbanded(provider, draft, before.attempt))


def _disbanded(provider: Provider, draft: Draft, attempt: int) -> Disband:
    return Disband(api=provider.api, name=gang_name(draft.stem, attempt=attempt))


def needs_gang(group: str, *, stem: str, attempt: int, phase: str | None) -> bool:
    """Whether a job may still need a PodGroup that is its own.

    Args:
        group: Name of the PodGroup.
        stem: What names of the job's pods begin with.
        attempt: Of the job.
        phase: Of the job. A job that was suspended when it was seen may have resumed since.
    """
    start, _, number = group.rpartition("-")
    if start != stem or not number.isdigit():
        return True  # none that was made here
    return int(number) >= attempt and phase not in {Phase.SUSPENDED, *TERMINAL}


def give_place_back(draft: Draft, observed: Observed) -> None:
    """Free the quota of a Workload that is evicted, once no pod of the job is left that runs."""
    known = observed.workload
    if known is not None and known.evicted and not known.deleting and _is_idle(observed.pods):
        status = kueue.without_admission(known, now=draft.moment)
        draft.actions.append(PatchWorkload.of(known, status))


def leave(draft: Draft, observed: Observed) -> None:
    """Leave the queue, as the user suspends the job; it queues anew when it is resumed."""
    known = observed.workload
    if known is not None and not known.deleting and _is_idle(observed.pods):
        draft.actions.append(DeleteWorkload(name=known.name, uid=known.uid))


def finish(draft: Draft, observed: Observed) -> None:
    """Say that a job has ended, once no pod of it is left that runs: its quota is free."""
    known = observed.workload
    if known is None or known.deleting or known.holds("Finished") or not _is_idle(observed.pods):
        return
    status = draft.status
    done = status.phase is Phase.SUCCEEDED
    patch = kueue.says(
        known,
        "Finished",
        status=True,
        reason="Succeeded" if done else "Failed",
        message=status.message or status.reason or "",
        now=draft.moment,
    )
    draft.actions.append(PatchWorkload.of(known, patch))


def tell_ready(draft: Draft, job: Job, observed: Observed) -> None:
    """Say whether all pods run: a queue may take its quota from who does not start in time."""
    known = observed.workload
    if known is None or not known.admitted or not uses_kueue(job, observed):
        return
    runs = draft.conditions.holds(ConditionType.RUNNING)
    before = known.condition("PodsReady")
    if runs == (before is not None and before.holds):
        return
    again = before is not None and before.reason != "WaitForStart"
    if runs:
        reason, message = "Recovered" if again else "Started", "all pods run"
    else:
        reason, message = "WaitForRecovery", "a new attempt starts"
    patch = kueue.says(
        known, "PodsReady", status=runs, reason=reason, message=message, now=draft.moment
    )
    draft.actions.append(PatchWorkload.of(known, patch))


def _ask_for_place(draft: Draft, job: Job, observed: Observed, config: OperatorConfig) -> None:
    if observed.retry_at is not None and draft.now < observed.retry_at:
        draft.wake(observed.retry_at)
        return
    if observed.config_map is None:
        draft.actions.append(Create(manifest=config_map(job)))
    manifest = workload(job, config=config, stem=draft.status.pod_stem, priority=observed.priority)
    draft.actions.append(Create(manifest=manifest))


def _rank(draft: Draft, job: Job, observed: Observed, config: OperatorConfig) -> None:
    """Give a Workload the priority that was not to be read when it was made."""
    known, named = observed.workload, priority_class(job, config)
    if known is None or named is None or not known.lacks_priority:
        return
    if observed.priority is None:
        draft.wake(after(draft.now, _PRIORITY_SECONDS))  # nobody watches classes
        return
    spec = kueue.ranked(named, observed.priority)
    rank = RankWorkload(name=known.name, uid=known.uid, version=known.version, spec=spec)
    draft.actions.append(rank)


def _why_unranked(job: Job, observed: Observed, config: OperatorConfig) -> str:
    if observed.priority_problem is None:
        return ""
    named = priority_class(job, config)
    why = f"PriorityClass {named} cannot be read: {observed.priority_problem}"
    return f"; it has no priority there: {why}"


def _in_the_way(draft: Draft, job: Job, observed: Observed) -> Finding | None:
    """Why no pod may be created yet; None when they may."""
    known = observed.workload
    if known is None or known.deleting:
        return _waiting_in(job, "its Workload is being created")
    if not known.admitted:
        return _waiting_in(job, _why_evicted(known) if known.evicted else _why_not(known))
    unread = next((name for name in known.flavors if name not in observed.flavors), None)
    whole = len(observed.pods_of(draft.status.attempt)) >= job.spec.resources.nodes
    if unread is None or whole:
        return None
    why = observed.flavor_problem or "it does not exist"
    draft.wake(after(draft.now, _FLAVOR_SECONDS))  # nobody watches flavours
    return _waiting_in(job, f"ResourceFlavor {unread} cannot be read: {why}")


def _waiting_in(job: Job, words: str) -> Finding:
    queue = job.spec.scheduling.queue
    return Finding(reason=Reason.QUEUED, message=f"waits in queue {queue}: {words}")


def _why_not(known: WorkloadView) -> str:
    """What Kueue says: of a check that is not done, or of the quota."""
    if not known.active:
        return _HELD.format(name=known.name)
    for kind in ("QuotaReserved", "Admitted", "Requeued"):
        found = known.condition(kind)
        if found is not None and not found.holds and found.message:
            return found.message
    if known.has_admission:
        return f"{known.cluster_queue} has quota for it; admission checks are not done"
    return "nobody has looked at it yet; is Kueue running, and is there such a LocalQueue?"


def _why_evicted(known: WorkloadView) -> str:
    if not known.active:
        return _HELD.format(name=known.name)
    found = known.condition("Evicted")
    if found is None or not found.holds:
        return "it is not admitted any more"
    return f"Kueue takes its quota back ({found.reason}): {found.message}"


def _is_idle(pods: Sequence[PodView]) -> bool:
    return all(pod.finished for pod in pods)

"""What the job's own object says: suspended, refused, waiting for another job, starting anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from mmrlhf.client.times import parse_time
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhfctl.diagnosis.advice import advice
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, words
from mmrlhfctl.durations import format_age
from mmrlhfctl.program import program_name

__all__ = ["job_causes"]

_LEASE_SECONDS: Final = 15.0
_SILENT_SECONDS: Final = 300.0
_DEPENDENCIES: Final = frozenset({"WaitingForJob", "DependencyFailed"})


def job_causes(facts: Facts) -> Iterator[Cause]:
    """Yield what the object of a job that has not ended says."""
    yield from _as_told(facts)
    yield from _operator(facts)
    yield from _acceptance(facts)
    yield from _restarting(facts)
    yield from _remaining(facts)
    yield from _silence(facts)


def _as_told(facts: Facts) -> Iterator[Cause]:
    """What somebody wants of the job: that it goes, ends or stands still."""
    job = facts.job
    if job.deleting:
        held = ", ".join(job.metadata.get("finalizers") or ())
        yield Cause(
            topic=Topic.DELETED,
            certainty=Certainty.CERTAIN,
            text="the job is being deleted" + (f"; finalizers hold it: {held}" if held else ""),
            fix="wait; where a finalizer holds it, see that its owner runs",
            section="PodsRemain",
            evidence=(
                Evidence(
                    thing=job.argument,
                    text="metadata.deletionTimestamp",
                    seen=parse_time(job.metadata.get("deletionTimestamp")),
                ),
            ),
        )
    if job.cancelled:
        fix, section = advice("Cancelled", job.argument)
        yield Cause(
            topic=Topic.CANCELLED,
            certainty=Certainty.CERTAIN,
            text="the job is being cancelled",
            fix=fix,
            section=section,
            evidence=(Evidence(thing=job.argument, text="spec.runPolicy.cancel is true"),),
        )
    elif job.suspended or job.phase == Phase.SUSPENDED:
        fix, section = advice("SuspendedByUser", job.argument)
        told = facts.told("Suspended") if job.holds("Suspended") else None
        yield Cause(
            topic=Topic.SUSPENDED,
            certainty=Certainty.CERTAIN,
            text="the job is suspended",
            fix=fix,
            section=section,
            evidence=(
                Evidence(thing=job.argument, text="spec.runPolicy.suspend is true"),
                *([told] if told else []),
            ),
        )


def _operator(facts: Facts) -> Iterator[Cause]:
    """Whether anybody works at the job at all."""
    job = facts.job
    sign, alive = _sign_of_life(facts)
    if alive is None and job.phase:
        return
    observed = job.status.get("observedGeneration")
    behind = isinstance(observed, int) and observed < int(job.metadata.get("generation") or 0)
    if alive is False:
        # One that runs outside of the cluster may hold no Lease.
        certainty = Certainty.LIKELY if sign is None or sign.seen is None else Certainty.CERTAIN
        text = "no operator works: nothing happens to any job"
    elif not job.phase:
        certainty = Certainty.LIKELY if alive is None else Certainty.POSSIBLE
        text = "no operator has looked at this job yet"
    elif behind:
        certainty = Certainty.POSSIBLE
        text = "the operator has not looked at the latest version of the spec yet"
    else:
        return
    yield Cause(
        topic=Topic.OPERATOR,
        certainty=certainty,
        text=text,
        fix=f"{program_name()} doctor says what is wrong with the operator",
        section="Alert-MmrlhfNobodyLeads",
        evidence=(
            *([sign] if sign else []),
            Evidence(
                thing=job.argument,
                text="it has no status" if not job.phase else f"its phase is {job.phase}",
            ),
        ),
    )


def _sign_of_life(facts: Facts) -> tuple[Evidence | None, bool | None]:
    """The operator's latest sign of life, and whether it lives; None where nobody may know."""
    if facts.leases is None:
        return None, None
    best: tuple[Evidence, bool] | None = None
    for lease in facts.leases:
        spec, metadata = lease.get("spec") or {}, lease["metadata"]
        renewed = parse_time(spec.get("renewTime"))
        if renewed is None or not spec.get("holderIdentity"):
            continue
        limit = timedelta(seconds=2 * float(spec.get("leaseDurationSeconds") or _LEASE_SECONDS))
        lives = facts.now - renewed <= limit
        evidence = Evidence(
            thing=f"lease/{metadata.get('namespace')}/{metadata.get('name')}",
            text=f"last renewed by {spec['holderIdentity']}",
            seen=renewed,
        )
        if best is None or (best[0].seen or renewed) < renewed:
            best = (evidence, lives)
    if best is None:
        return Evidence(thing="leases", text="nobody holds a Lease mmrlhf-operator"), False
    return best


def _acceptance(facts: Facts) -> Iterator[Cause]:
    job = facts.job
    waits = job.conditions.get(ConditionType.DEPENDENCIES_READY, {})
    accepted = job.conditions.get(ConditionType.ACCEPTED, {})
    if waits.get("status") == "False":
        other = facts.dependency
        state: tuple[Evidence, ...] = ()
        if other is not None:
            state = (Evidence(thing=other.argument, text=other.state_line),)
        fix, section = advice(str(waits.get("reason")), job.argument)
        yield Cause(
            topic=Topic.WAITS_FOR_JOB,
            certainty=Certainty.CERTAIN,
            text=words(waits.get("message")) or "the job waits for another job",
            fix=fix
            if other is None
            else f"see why that one is not done: {program_name()} why {other.argument}",
            section=section,
            evidence=(facts.told(ConditionType.DEPENDENCIES_READY), *state),
        )
    reason = str(accepted.get("reason") or "")
    if accepted.get("status") == "False" and reason not in _DEPENDENCIES:
        fix, section = advice(reason, job.argument)
        yield Cause(
            topic=Topic.NOT_ACCEPTED,
            certainty=Certainty.POSSIBLE if reason == "Checking" else Certainty.CERTAIN,
            text=f"the job is not accepted ({reason}): {words(accepted.get('message'))}",
            fix=fix,
            section=section,
            evidence=(facts.told(ConditionType.ACCEPTED),),
        )


def _restarting(facts: Facts) -> Iterator[Cause]:
    job = facts.job
    entry = job.conditions.get(ConditionType.RESTARTING, {})
    if entry.get("status") != "True" or facts.attempt:
        return
    reason = str(entry.get("reason") or "")
    fix, section = advice(reason, job.argument)
    free = job.status.get("freeRestarts") or 0
    yield Cause(
        topic=Topic.BACK_OFF,
        certainty=Certainty.CERTAIN,
        text=f"attempt {job.attempt} waits, as the one before failed ({reason}):"
        f" {words(entry.get('message'))}",
        fix=f"the next attempt starts by itself; against the failure: {fix}",
        section=section,
        evidence=(
            facts.told(ConditionType.RESTARTING),
            Evidence(
                thing=job.argument,
                text=f"{job.status.get('restarts') or 0} of {job.max_restarts} restarts used, and"
                f" {free} free ones in a row",
            ),
        ),
    )


def _remaining(facts: Facts) -> Iterator[Cause]:
    """Pods of attempts before that are not gone, while the current one has none."""
    job = facts.job
    leaving = [pod for pod in facts.pods if pod.view.attempt < job.attempt and not pod.view.ended]
    if facts.attempt or not leaving:
        return
    fix, section = advice("PodsRemain", job.argument)
    yield Cause(
        topic=Topic.PODS_REMAIN,
        certainty=Certainty.CERTAIN if job.reason == "PodsRemain" else Certainty.LIKELY,
        text="the next attempt waits until the pods of the one before are gone",
        fix=fix,
        section=section,
        evidence=tuple(
            Evidence(
                thing=pod.thing,
                text=f"{pod.view.state}, finalizers: "
                + (", ".join(pod.body["metadata"].get("finalizers") or ()) or "none")
                + (f", on node {pod.view.node}" if pod.view.node else ""),
            )
            for pod in leaving
        ),
    )


def _silence(facts: Facts) -> Iterator[Cause]:
    """What may be wrong with a job that runs."""
    job = facts.job
    entry = job.conditions.get(ConditionType.PROGRESSING, {})
    running = job.phase == Phase.RUNNING
    if running and entry.get("reason") == "NoProgressArrives":
        fix, section = advice("NoProgressArrives", job.argument)
        yield Cause(
            topic=Topic.SILENCE,
            certainty=Certainty.CERTAIN,
            text="nothing is heard of rank 0; the training itself may be well",
            fix=f"{fix}; its log says which: {program_name()} logs {job.argument} --rank 0",
            section=section,
            evidence=(facts.told(ConditionType.PROGRESSING),),
        )
    updated = parse_time((job.status.get("progress") or {}).get("updatedAt"))
    if running and updated is not None:
        silent = (facts.now - updated).total_seconds()
        if silent > _SILENT_SECONDS:
            fix, section = advice("Stalled", job.argument)
            yield Cause(
                topic=Topic.SILENCE,
                certainty=Certainty.LIKELY,
                text=f"no step was reported for {format_age(updated, facts.now)}",
                fix=fix,
                section=section,
                evidence=(
                    Evidence(thing=job.argument, text="status.progress.updatedAt", seen=updated),
                ),
            )
    if running and job.reason == "SomeRanksRemain":
        fix, section = advice("SomeRanksRemain", job.argument)
        yield Cause(
            topic=Topic.RANKS,
            certainty=Certainty.LIKELY,
            text=words(job.message),
            fix=fix,
            section=section,
            evidence=(Evidence(thing=job.argument, text="status.endedWell"),),
        )

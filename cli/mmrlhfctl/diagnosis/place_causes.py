"""Why the pods of the current attempt find no node: the scheduler's words, and a simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from mmrlhf.client.times import parse_time
from mmrlhfctl.diagnosis.amounts import is_device, told
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Pod, condition, words
from mmrlhfctl.diagnosis.nodes import Need
from mmrlhfctl.diagnosis.placement import Fit, fit
from mmrlhfctl.diagnosis.pod_causes import unwell_claims
from mmrlhfctl.diagnosis.refusal_causes import holders
from mmrlhfctl.diagnosis.scheduler import Verdict, read_verdict
from mmrlhfctl.diagnosis.words import VOLUMES, read_words

__all__ = ["place_causes"]

_PATIENCE_SECONDS: Final = 30.0
_SECTION: Final = "Unschedulable"
_OURS: Final = ("Insufficient ", "Too many pods", "taint", "affinity/selector", "node selector")
"""What the simulation knows of, in the words of the scheduler."""
_ELSEWHERE: Final = ("ersistentVolume", "ersistentvolume", "volume")


def place_causes(facts: Facts) -> Iterator[Cause]:
    """Yield why pods that look for a node find none."""
    waiting = facts.homeless
    if not waiting:
        return
    told_by, verdict = _verdict(facts, waiting)
    yield from _elsewhere(facts, told_by, verdict)
    if not told_by and facts.queueing.group is None:
        yield from _unseen(facts, waiting)
    result, need = _simulated(facts, waiting)
    if result is None:
        yield from _by_words(told_by, verdict)
        return
    sure = Certainty.CERTAIN if verdict is not None else Certainty.LIKELY
    evidence = (*told_by, *_nodes(result))
    if not result.usable or result.empty < result.wanted:
        yield _never(facts, result, need, evidence)
    elif facts.loads is None:
        yield from _by_words(told_by, verdict)
    elif result.now < result.wanted:
        yield _full(facts, result, need, evidence, sure)
    else:
        unknown = [] if verdict is None else [why for _, why in verdict.reasons if not _known(why)]
        if unknown:
            yield from _by_words(told_by, verdict)
        else:
            yield Cause(
                topic=Topic.SCHEDULER,
                certainty=Certainty.POSSIBLE,
                text=f"there is room for all {result.wanted} pods now: the scheduler was not asked"
                " again yet, or looks at more than this does",
                fix="wait a minute and ask again",
                section=_SECTION,
                evidence=evidence,
            )


def _verdict(facts: Facts, waiting: Sequence[Pod]) -> tuple[tuple[Evidence, ...], Verdict | None]:
    """What the scheduler says of the first pod of which it says anything."""
    for pod in waiting:
        entry = condition(pod.body, "PodScheduled")
        events = facts.latest(pod, "FailedScheduling", "Unschedulable")
        said = words(entry.get("message"))
        if entry.get("status") == "False" and said:
            own = Evidence(
                thing=pod.thing,
                text=f"PodScheduled: {said}",
                seen=parse_time(entry.get("lastTransitionTime")),
            )
            same = [one for one in events if said in one.text]
            return tuple(same or (own, *events)), read_verdict(said)
        if events:
            return events, read_verdict(events[0].text)
    return (), None


def _elsewhere(
    facts: Facts, told_by: Sequence[Evidence], verdict: Verdict | None
) -> Iterator[Cause]:
    """What the scheduler says of volumes, of which the simulation knows nothing."""
    said = [why for _, why in verdict.reasons] if verdict else [one.text for one in told_by[:1]]
    for why in said:
        read = read_words(why, VOLUMES) if _is_elsewhere(why) else None
        if read is not None and not ("Claim" in why and unwell_claims(facts)):
            yield Cause(
                topic=Topic.VOLUME,
                certainty=Certainty.CERTAIN,
                text=read.text,
                fix=read.fix,
                section=_SECTION,
                evidence=tuple(told_by),
            )


def _is_elsewhere(why: str) -> bool:
    return any(part in why for part in _ELSEWHERE)


def _unseen(facts: Facts, waiting: Sequence[Pod]) -> Iterator[Cause]:
    """Pods of which no scheduler says anything."""
    pod = waiting[0]
    name = str(pod.spec.get("schedulerName") or "default-scheduler")
    created = pod.view.created
    if created is None or (facts.now - created).total_seconds() < _PATIENCE_SECONDS:
        return
    yield Cause(
        topic=Topic.SCHEDULER,
        certainty=Certainty.LIKELY,
        text=f"scheduler {name} says nothing of the pods: it may not run",
        fix=f"see that a scheduler of the name {name} runs, or use another node pool",
        section=_SECTION,
        evidence=(Evidence(thing=pod.thing, text=f"spec.schedulerName: {name}", seen=created),),
    )


def _simulated(facts: Facts, waiting: Sequence[Pod]) -> tuple[Fit | None, Need]:
    need = Need.read(waiting[0].spec)
    if facts.nodes is None:
        return None, need
    domain = None
    if need.topology is not None:
        bound = {pod.view.node for pod in facts.attempt if pod.view.node}
        values = {node.labels.get(need.topology) for node in facts.nodes if node.name in bound}
        domain = next((value for value in values if value is not None), None)
    return fit(need, len(waiting), facts.nodes, facts.loads or (), domain=domain), need


def _known(why: str) -> bool:
    return any(part in why for part in _OURS)


def _by_words(told_by: tuple[Evidence, ...], verdict: Verdict | None) -> Iterator[Cause]:
    """The scheduler's words alone, where nodes were not read or do not explain them."""
    reasons = [] if verdict is None else verdict.reasons
    others = [(count, why) for count, why in reasons if not _is_elsewhere(why)]
    if not told_by or (not others and (reasons or _is_elsewhere(told_by[0].text))):
        return
    if verdict is None:
        text, topic = told_by[0].text, Topic.NO_ROOM
    else:
        parts = [f"{count} of {verdict.total}: {why}" for count, why in others]
        text = "the scheduler finds no node: " + "; ".join(parts)
        short = any(why.startswith(("Insufficient", "Too many pods")) for _, why in others)
        topic = Topic.NO_ROOM if short else Topic.NO_NODE
    yield Cause(
        topic=topic,
        certainty=Certainty.CERTAIN if verdict else Certainty.LIKELY,
        text=text,
        fix="wait for others to end, or submit the job with smaller resources"
        if topic is Topic.NO_ROOM
        else "submit the job with a node pool, selector or tolerations that nodes meet",
        section=_SECTION,
        evidence=told_by,
    )


def _nodes(result: Fit) -> Iterator[Evidence]:
    for why, count in sorted(result.unfit.items(), key=lambda entry: (-entry[1], entry[0])):
        yield Evidence(thing="nodes", text=f"{count} of {result.total} {why}")


def _never(facts: Facts, result: Fit, need: Need, evidence: tuple[Evidence, ...]) -> Cause:
    """No waiting helps: too few nodes take such pods, however empty they are."""
    pool = facts.job.spec.get("nodePool")
    of_pool = f" (node pool {pool})" if pool else ""
    main = max(result.unfit.items(), key=lambda entry: entry[1], default=("", 0))[0]
    if result.total == 0:
        text = "the cluster has no nodes"
    elif not result.usable:
        nodes = _count(result.total, "node")
        text = f"no node of {nodes} takes the job's pods{of_pool}"
        few = result.unfit[main]
        text += f": {few} {'is' if few == 1 else 'are'} {main}"
    else:
        text = (
            f"the {_count(len(result.usable), 'node')} that the job's pods fit on{of_pool} have"
            f" room for {result.empty} of {result.wanted}, even when nothing else is there"
        )
        if need.topology is not None and result.apart:
            text += f", with one {need.topology}"
    if "label" in main or "affinity" in main:
        fix = "submit the job with labels (nodePool, nodeSelector) that nodes have, or label nodes"
    elif "taint" in main:
        fix = "submit it with a nodePool or podTemplate.tolerations for the taint"
    elif main in {"cordoned", "not ready"}:
        fix = "uncordon or mend the nodes"
    else:
        fix = "submit the job with smaller spec.resources, or have nodes added"
    return Cause(
        topic=Topic.NO_NODE,
        certainty=Certainty.CERTAIN,
        text=text,
        fix=fix,
        section=_SECTION,
        evidence=evidence,
    )


def _full(
    facts: Facts, result: Fit, need: Need, evidence: tuple[Evidence, ...], sure: Certainty
) -> Cause:
    """The nodes would do, but others are on them."""
    scarce = _scarce(result, need)
    each, free, best = need.requests[scarce], result.free[scarce], result.best[scarce]
    wanted = result.wanted * each
    if free >= wanted and best < each:
        text = f"{told(scarce, free)} are free, but no node has {told(scarce, each)}"
        fix = "wait for a whole node, or submit the job with less per node on more nodes"
    elif need.topology is not None and result.apart:
        text = f"there is room for all pods, but not with one {need.topology}"
        fix = "wait, or submit the job with scheduling.topologyPreferred"
    elif free >= wanted:
        text = (
            f"{told(scarce, free)} are free, but in pieces: they hold {result.now} of"
            f" {_count(result.wanted, 'pod')} of {told(scarce, each)}"
        )
        fix = "wait, or submit the job with less per node on more nodes"
    else:
        text = (
            f"the job waits for {told(scarce, wanted)}, and {told(scarce, free)} are free on the"
            f" {_count(len(result.usable), 'node')} that its pods fit on"
        )
        fix = "wait for others to end, or submit the job with smaller spec.resources"
    usable = set(result.usable)
    loads = (
        (load.holder, load.requests.get(scarce, Decimal(0)))
        for load in facts.loads or ()
        if load.node in usable
    )
    return Cause(
        topic=Topic.NO_ROOM,
        certainty=sure,
        text=text,
        fix=fix,
        section=_SECTION,
        evidence=(*evidence, *holders(loads, scarce, thing="holder")),
    )


def _scarce(result: Fit, need: Need) -> str:
    """The resource that is missing most, devices first: without GPUs the rest is no matter."""
    names = [name for name, amount in need.requests.items() if amount > 0 and name in result.free]
    return max(
        names,
        key=lambda name: (
            result.best[name] < need.requests[name]
            or result.free[name] < result.wanted * need.requests[name],
            is_device(name),
            -result.free[name] / (result.wanted * need.requests[name]),
        ),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

"""Why a job waits in a queue of Kueue, which quota there is, and who holds it.

Fields are those of Kueue ``apis/kueue/v1beta2`` and ``apis/visibility/v1beta2``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from mmrlhfctl.diagnosis.advice import ADVICE
from mmrlhfctl.diagnosis.amounts import added, read_amounts, requests_of, told
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Manifest, condition, says, words
from mmrlhfctl.diagnosis.queue_places import is_admitted, place_in_queue
from mmrlhfctl.diagnosis.refusal_causes import holders

__all__ = ["queue_causes", "queue_evidence"]

_SECTION: Final = "Queued"
_STOPPED: Final = {"Hold": "admits nobody", "HoldAndDrain": "admits nobody and evicts all"}
_KINDS: Final = {"LocalQueue": "local_queue", "ClusterQueue": "cluster_queue"}


def queue_causes(facts: Facts) -> Iterator[Cause]:
    """Yield why a job is not admitted by its queue."""
    workload = facts.queueing.workload
    waits = "Workload" in facts.queueing.absent and facts.job.reason == "Queued"
    if waits if workload is None else not is_admitted(workload):
        found = list(_queues(facts))
        yield from found
        if workload is not None and not found:  # a queue that admits nobody says it all
            yield from _workload(facts, workload)


def _queues(facts: Facts) -> Iterator[Cause]:
    """What is wrong with the queues themselves."""
    known = facts.queueing
    name = str((facts.job.spec.get("scheduling") or {}).get("queue") or "")
    for kind, attribute in _KINDS.items():
        body: Manifest | None = getattr(known, attribute)
        if kind in known.absent:
            if kind == "ClusterQueue":
                spec = (known.local_queue or {}).get("spec") or {}
                name = str(spec.get("clusterQueue") or "")
            text = f"there is no {kind} {name}"
            text += f" in namespace {facts.job.namespace}" if kind == "LocalQueue" else ""
            yield _cause(
                text,
                "create it, or submit the job with another spec.scheduling.queue",
                Evidence(thing=f"{kind.lower()}/{name}", text="not found"),
            )
            return
        if body is None:
            continue
        thing = f"{kind.lower()}/{body['metadata']['name']}"
        stop = (body.get("spec") or {}).get("stopPolicy")
        if stop in _STOPPED:
            yield _cause(
                f"{kind} {body['metadata']['name']} is stopped: it {_STOPPED[stop]}",
                "ask whoever stopped it to set spec.stopPolicy to None",
                Evidence(thing=thing, text=f"spec.stopPolicy: {stop}"),
            )
            return
        active = condition(body, "Active")
        if active.get("status") == "False":
            yield _cause(
                f"{kind} {body['metadata']['name']} admits nobody:"
                f" {words(active.get('message')) or active.get('reason')}",
                "ask whoever runs the queue to mend that",
                says(thing, active),
            )
            return


def _workload(facts: Facts, workload: Manifest) -> Iterator[Cause]:
    name = workload["metadata"]["name"]
    thing = f"workload/{name}"
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    if spec.get("active") is False:
        yield _cause(
            "the job was taken out of its queue: its Workload is not active",
            f'kubectl patch workload {name} --type=merge -p \'{{"spec":{{"active":true}}}}\'',
            Evidence(thing=thing, text="spec.active is false"),
        )
        return
    for check in status.get("admissionChecks") or ():
        if check.get("state") in {"Pending", "Retry", "Rejected"} and status.get("admission"):
            said = words(check.get("message"))
            yield _cause(
                f"it has quota, and admission check {check.get('name')} is {check['state']}"
                + (f": {said}" if said else ""),
                "wait for the check, or ask whoever runs it",
                Evidence(thing=thing, text=f"status.admissionChecks: {check['state']}"),
            )
            return
    evicted, reserved = condition(workload, "Evicted"), condition(workload, "QuotaReserved")
    again = (status.get("requeueState") or {}).get("requeueAt")
    if again and evicted.get("status") == "True":
        yield _cause(
            f"Kueue took its quota back ({evicted.get('reason')}), and it queues again at {again}:"
            f" {words(evicted.get('message'))}",
            "wait until then",
            says(thing, evicted),
        )
        return
    evidence = list(queue_evidence(facts))
    if reserved.get("status") == "False" and reserved.get("message"):
        said = f"its queue has not admitted it: {words(reserved['message'])}"
        evidence.insert(0, says(thing, reserved))
    elif evicted.get("status") == "True":
        said = f"Kueue took its quota back: {words(evicted.get('message'))}"
        evidence.insert(0, says(thing, evicted))
    elif not status.get("conditions"):
        yield Cause(
            topic=Topic.QUEUE,
            certainty=Certainty.LIKELY,
            text="Kueue has not looked at the job's Workload yet: it may not run",
            fix="see the pods of Kueue, mostly in namespace kueue-system",
            section=_SECTION,
            evidence=(Evidence(thing=thing, text="it has no conditions"), *evidence),
        )
        return
    else:
        said = "its queue has not admitted it yet"
    yield _cause(said, ADVICE["Queued"], *evidence)


def queue_evidence(facts: Facts) -> Iterator[Evidence]:
    """Yield the place of a job in its queue, which quota there is, and who holds it."""
    workload = facts.queueing.workload
    if workload is None or is_admitted(workload):
        return
    place = place_in_queue(facts)
    if place is not None:
        yield place
    yield from _quota(facts, workload)
    yield from _held(facts, workload)


def _quota(facts: Facts, workload: Manifest) -> Iterator[Evidence]:
    """What the ClusterQueue has of what the job asks for, and how much of it is given away."""
    body = facts.queueing.cluster_queue
    if body is None:
        return
    asked = _asked(workload)
    reserved: dict[tuple[str, str], Manifest] = {
        (str(flavor.get("name")), str(entry.get("name"))): entry
        for flavor in (body.get("status") or {}).get("flavorsReservation") or ()
        for entry in flavor.get("resources") or ()
    }
    for group in (body.get("spec") or {}).get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            for entry in flavor.get("resources") or ():
                resource = str(entry.get("name"))
                if resource not in asked:
                    continue
                used = reserved.get((str(flavor.get("name")), resource), {})
                borrowed = str(used.get("borrowed") or "0")
                yield Evidence(
                    thing=f"clusterqueue/{body['metadata']['name']}",
                    text=f"{resource} of flavor {flavor.get('name')}: {used.get('total') or 0} of"
                    f" {entry.get('nominalQuota')} given away"
                    + (f", {borrowed} of it borrowed" if borrowed != "0" else "")
                    + f"; the job asks for {_plain(resource, asked[resource])}",
                )


def _held(facts: Facts, workload: Manifest) -> Iterator[Evidence]:
    """Who holds the quota of what the job asks for most scarcely: devices, if it asks for any."""
    asked = _asked(workload)
    resource = next((name for name in sorted(asked) if "/" in name), None)
    body = facts.queueing.cluster_queue
    local = (facts.queueing.local_queue or {}).get("spec") or {}
    queue = body["metadata"]["name"] if body else local.get("clusterQueue")
    if resource is None or queue is None:
        return
    pieces = []
    for other in facts.queueing.others:
        admission = (other.get("status") or {}).get("admission") or {}
        finished = condition(other, "Finished").get("status") == "True"
        if admission.get("clusterQueue") != queue or finished:
            continue
        metadata = other["metadata"]
        for entry in admission.get("podSetAssignments") or ():
            amount = read_amounts(entry.get("resourceUsage")).get(resource, Decimal(0))
            pieces.append((f"{metadata.get('namespace')}/{metadata['name']}", amount))
    yield from holders(pieces, resource, thing="workload")


def _cause(text: str, fix: str, *evidence: Evidence) -> Cause:
    return Cause(
        topic=Topic.QUEUE,
        certainty=Certainty.CERTAIN,
        text=text,
        fix=fix,
        section=_SECTION,
        evidence=evidence,
    )


def _asked(workload: Manifest) -> dict[str, Decimal]:
    total: list[dict[str, Decimal]] = []
    for pods in (workload.get("spec") or {}).get("podSets") or ():
        spec = (pods.get("template") or {}).get("spec") or {}
        each = requests_of(spec)
        each.pop("pods", None)
        total.append({name: amount * int(pods.get("count") or 1) for name, amount in each.items()})
    return added(total)


def _plain(resource: str, amount: Decimal) -> str:
    return told(resource, amount).partition(" ")[0]

"""Why a gang is not let start: the PodGroups of Volcano and of the coscheduling plugin.

Fields are those of Volcano ``scheduling/v1beta1`` and scheduler-plugins
``apis/scheduling/v1alpha1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from mmrlhfctl.diagnosis.advice import ADVICE
from mmrlhfctl.diagnosis.amounts import is_device, read_amounts, told
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Manifest, condition, says, words
from mmrlhfctl.diagnosis.refusal_causes import holders

__all__ = ["gang_causes"]

_HOLDING: Final = frozenset({"Running", "Inqueue"})


def gang_causes(facts: Facts) -> Iterator[Cause]:
    """Yield why the PodGroup of a job whose pods have no nodes holds them back."""
    if facts.queueing.group is not None and facts.homeless:
        yield from _group(facts, facts.queueing.group)


def _group(facts: Facts, group: Manifest) -> Iterator[Cause]:
    """A PodGroup whose pods have no nodes: Volcano says why, coscheduling how far it is."""
    thing = f"podgroup/{group['metadata']['name']}"
    status = group.get("status") or {}
    queue = facts.queueing.group_queue
    state = str(((queue or {}).get("status") or {}).get("state") or "")
    if queue is not None and state not in {"", "Open"}:
        name = queue["metadata"]["name"]
        yield _certain(
            f"Volcano's queue {name} is {state}",
            "ask whoever runs the queue to open it, or submit the job with another",
            Evidence(thing=f"queue/{name}", text=f"status.state: {state}"),
        )
        return
    if "Queue" in facts.queueing.absent:
        name = (group.get("spec") or {}).get("queue")
        yield _certain(
            f"Volcano has no queue {name}",
            "create it, or submit the job with another spec.scheduling.queue",
            Evidence(thing=f"queue/{name}", text="not found"),
        )
        return
    wanted = (group.get("spec") or {}).get("minMember")
    stuck = condition(group, "Unschedulable")
    phase = str(status.get("phase") or "")
    if stuck.get("status") == "True":
        yield _certain(
            f"the gang of {wanted} pods cannot start as a whole: {words(stuck.get('message'))}",
            ADVICE["Unschedulable"],
            says(thing, stuck),
        )
    elif not phase:
        yield Cause(
            topic=Topic.GANG,
            certainty=Certainty.LIKELY,
            text="no gang scheduler has looked at the job's PodGroup: it may not run",
            fix="see the pods of Volcano or of the scheduler with the coscheduling plugin",
            section="GangUnavailable",
            evidence=(Evidence(thing=thing, text="it has no status.phase"),),
        )
    elif phase == "Pending" and queue is not None:
        allocated = read_amounts((queue.get("status") or {}).get("allocated"))
        limit = read_amounts((queue.get("spec") or {}).get("capability"))
        yield Cause(
            topic=Topic.GANG,
            certainty=Certainty.LIKELY,
            text=f"Volcano has not let the gang of {wanted} pods into queue"
            f" {queue['metadata']['name']} yet",
            fix=ADVICE["Queued"],
            section="Queued",
            evidence=(
                Evidence(thing=thing, text="status.phase: Pending"),
                *(
                    Evidence(
                        thing=f"queue/{queue['metadata']['name']}",
                        text=f"{name}: {_plain(name, allocated.get(name, Decimal(0)))} of"
                        f" {_plain(name, most)} given away",
                    )
                    for name, most in sorted(limit.items())
                ),
                *_held(facts, group),
            ),
        )


def _held(facts: Facts, group: Manifest) -> Iterator[Evidence]:
    """Which other groups hold the queue, by what they ask for: devices, if this one does."""
    spec = group.get("spec") or {}
    asked = read_amounts(spec.get("minResources"))
    resource = next((name for name in sorted(asked) if is_device(name)), None)
    if resource is None:
        return
    pieces = (
        (
            f"{other['metadata'].get('namespace')}/{other['metadata']['name']}",
            read_amounts((other.get("spec") or {}).get("minResources")).get(resource, Decimal(0)),
        )
        for other in facts.queueing.others
        if (other.get("spec") or {}).get("queue") == spec.get("queue")
        and (other.get("status") or {}).get("phase") in _HOLDING
    )
    yield from holders(pieces, resource, thing="podgroup")


def _certain(text: str, fix: str, *evidence: Evidence) -> Cause:
    return Cause(
        topic=Topic.GANG,
        certainty=Certainty.CERTAIN,
        text=text,
        fix=fix,
        section="Queued",
        evidence=evidence,
    )


def _plain(resource: str, amount: Decimal) -> str:
    return told(resource, amount).partition(" ")[0]

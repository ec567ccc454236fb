"""What the API server, and whoever admits objects there, refuses of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from mmrlhf_api.constants import ConditionType
from mmrlhfctl.diagnosis.advice import advice
from mmrlhfctl.diagnosis.amounts import told
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, words
from mmrlhfctl.diagnosis.words import REFUSALS, read_words

__all__ = ["holders", "is_refused", "refusal_causes"]

_REFUSED: Final = frozenset({"CreationRefused", "NameConflict"})
_MOST: Final = 3


def is_refused(facts: Facts) -> bool:
    """Whether the server refuses something."""
    return bool(_refusals(facts))


def refusal_causes(facts: Facts) -> Iterator[Cause]:
    """Yield what is refused, and by whom."""
    for kind, reason, message in _refusals(facts):
        fix, section = advice(reason, facts.job.argument)
        evidence: tuple[Evidence, ...] = (facts.told(kind),)
        read = read_words(message, REFUSALS)
        if read is None:
            yield Cause(
                topic=Topic.REFUSED,
                certainty=Certainty.CERTAIN,
                text=message or "the API server refuses an object of the job",
                fix=fix,
                section=section,
                evidence=evidence,
            )
            continue
        if read.topic is Topic.QUOTA:
            evidence += tuple(_quota(facts, message))
        if read.topic is Topic.LIMIT:
            evidence += tuple(_limits(facts))
        yield read.cause(Certainty.CERTAIN, section=section, evidence=evidence)


def holders(
    loads: Iterable[tuple[str, Decimal]], resource: str, *, thing: str
) -> Iterator[Evidence]:
    """Yield who holds most of a resource.

    Args:
        loads: Who holds how much, in pieces.
        resource: The resource.
        thing: What each holder is, such as ``job``.
    """
    total: dict[str, Decimal] = {}
    for holder, amount in loads:
        total[holder] = total.get(holder, Decimal(0)) + amount
    held = sorted(
        ((holder, amount) for holder, amount in total.items() if amount > 0),
        key=lambda entry: (-entry[1], entry[0]),
    )
    for holder, amount in held[:_MOST]:
        yield Evidence(thing=f"{thing}/{holder}", text=f"holds {told(resource, amount)}")
    if len(held) > _MOST:
        rest = sum((amount for _, amount in held[_MOST:]), Decimal(0))
        yield Evidence(thing=f"{len(held) - _MOST} others", text=f"hold {told(resource, rest)}")


def _refusals(facts: Facts) -> list[tuple[ConditionType, str, str]]:
    found = []
    scheduled = facts.job.conditions.get(ConditionType.SCHEDULED, {})
    if scheduled.get("status") == "False" and scheduled.get("reason") in _REFUSED:
        found.append(
            (ConditionType.SCHEDULED, str(scheduled["reason"]), words(scheduled["message"]))
        )
    blocked = facts.job.conditions.get(ConditionType.BLOCKED, {})
    if blocked.get("status") == "True":
        reason = str(blocked.get("reason"))
        found.append((ConditionType.BLOCKED, reason, words(blocked.get("message"))))
    return found


def _quota(facts: Facts, message: str) -> Iterator[Evidence]:
    """What a quota has and who holds it, as far as pods of the namespace say."""
    match = re.search(r"exceeded quota: ([^,\s]+), requested: (.+?), used:", message)
    if match is None:
        return
    name = match[1]
    asked = [part.partition("=")[0].strip() for part in match[2].split(",")]
    for quota in facts.quotas:
        if quota["metadata"]["name"] != name:
            continue
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        for resource in asked:
            if resource in hard:
                yield Evidence(
                    thing=f"resourcequota/{name}",
                    text=f"{resource}: {used.get(resource, 0)} of {hard[resource]} used",
                )
    for resource in asked:
        plain = resource.removeprefix("requests.").removeprefix("limits.")
        pieces = ((load.holder, load.requests.get(plain, Decimal(0))) for load in facts.neighbours)
        yield from holders(pieces, plain, thing="holder")


def _limits(facts: Facts) -> Iterator[Evidence]:
    for body in facts.limits:
        for limit in (body.get("spec") or {}).get("limits") or ():
            ends = {key: limit[key] for key in ("min", "max") if limit.get(key)}
            if ends:
                yield Evidence(
                    thing=f"limitrange/{body['metadata']['name']}",
                    text=f"{limit.get('type')}: "
                    + "; ".join(
                        f"{key} "
                        + ", ".join(f"{name} {amount}" for name, amount in sorted(value.items()))
                        for key, value in ends.items()
                    ),
                )

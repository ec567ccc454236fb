"""Why a job has ended as it did: reason, exit code, container, last words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mmrlhf.client.times import parse_time
from mmrlhfctl.diagnosis.advice import advice
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Manifest, Pod, words

__all__ = ["ending_causes", "first_failed"]

_LOST_PEERS: Final = 141
"""Exit code of processes that only lost their peers."""
_BUDGETS: Final = "RestartBudgetExhausted"


def ending_causes(facts: Facts) -> Iterator[Cause]:
    """Yield why a job failed; nothing for one that succeeded."""
    job = facts.job
    if not job.failed:
        return
    reason = job.reason or str(job.conditions.get("Failed", {}).get("reason") or "")
    restarting = job.conditions.get("Restarting", {})
    fix, section = advice(reason, job.argument)
    evidence = [facts.told("Failed")]
    if reason == _BUDGETS and restarting.get("message"):
        evidence.append(facts.told("Restarting"))
    failed = first_failed(facts)
    if failed is not None:
        evidence += _end(failed)
    name, lines = facts.log
    evidence += [Evidence(thing=f"log of {name}", text=line) for line in lines]
    message = words(job.message)
    yield Cause(
        topic=Topic.CANCELLED if job.was_cancelled else Topic.FAILED,
        certainty=Certainty.CERTAIN,
        text=f"{reason}: {message}" if message else reason or "no reason is known",
        fix=fix,
        section=section,
        evidence=tuple(evidence),
    )


def first_failed(facts: Facts) -> Pod | None:
    """Return the pod of the last attempt that failed first, and not for its peers.

    None where no pod is left that did.
    """
    failed = [pod for pod in facts.attempt if _code(pod) or pod.status.get("phase") == "Failed"]
    return min(failed, key=_turn, default=None)


def _turn(pod: Pod) -> tuple[bool, str, int]:
    ended = _terminated(pod).get("finishedAt")
    return _code(pod) == _LOST_PEERS, str(ended or "9"), pod.view.rank


def _code(pod: Pod) -> int:
    return int(_terminated(pod).get("exitCode") or 0)


def _terminated(pod: Pod) -> Manifest:
    for entry in pod.status.get("containerStatuses") or ():
        if entry.get("name") == pod.view.container:
            found: Any = (entry.get("state") or {}).get("terminated")
            return found or {}
    return {}


def _end(pod: Pod) -> Iterator[Evidence]:
    ended = _terminated(pod)
    where = f" on node {pod.view.node}" if pod.view.node else ""
    if ended:
        code = ended.get("exitCode")
        said = words(ended.get("message"))
        yield Evidence(
            thing=pod.thing,
            text=f"container {pod.view.container} ended with exit code {code}"
            f" ({ended.get('reason') or 'no reason'}){where}" + (f": {said}" if said else ""),
            seen=parse_time(ended.get("finishedAt")),
        )
    reason = pod.status.get("reason")
    if reason:
        yield Evidence(thing=pod.thing, text=f"{reason}{where}: {words(pod.status.get('message'))}")

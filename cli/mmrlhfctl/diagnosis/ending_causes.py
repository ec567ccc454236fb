"""Why a job has ended as it did: reason, exit code, container, last words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mmrlhfctl.diagnosis.advice import advice
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Pod, how_it_ended, terminated, words

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
        evidence += how_it_ended(failed)
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
    ended = terminated(pod).get("finishedAt")
    return _code(pod) == _LOST_PEERS, str(ended or "9"), pod.view.rank


def _code(pod: Pod) -> int:
    return int(terminated(pod).get("exitCode") or 0)

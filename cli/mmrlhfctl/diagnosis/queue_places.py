"""The place of a job in its queue of Kueue."""

from __future__ import annotations

from mmrlhfctl.diagnosis.answers import Evidence
from mmrlhfctl.diagnosis.facts import Facts, Manifest, condition

__all__ = ["is_admitted", "place_in_queue"]


def place_in_queue(facts: Facts) -> Evidence | None:
    """Return the place of a job in its queue: as Kueue says, or else counted.

    None where none is known.
    """
    workload = facts.queueing.workload
    if workload is None:
        return None
    name, queue = workload["metadata"]["name"], (workload.get("spec") or {}).get("queueName")
    if facts.queueing.pending is not None:
        for entry in facts.queueing.pending:
            if (entry.get("metadata") or {}).get("name") == name:
                place, of = entry.get("positionInLocalQueue"), len(facts.queueing.pending)
                whole = entry.get("positionInClusterQueue")
                return Evidence(
                    thing=f"localqueue/{queue}",
                    text=f"place {_ordinal(place)} of {of}, and {_ordinal(whole)} in its"
                    " ClusterQueue, as Kueue says",
                )
        return None
    mine = [
        other
        for other in facts.queueing.others
        if (other.get("spec") or {}).get("queueName") == queue
        and other["metadata"].get("namespace") == facts.job.namespace
        and _waits(other)
    ]
    order = sorted(mine, key=_turn)
    names = [other["metadata"]["name"] for other in order]
    if name not in names:
        return None
    return Evidence(
        thing=f"localqueue/{queue}",
        text=f"place {names.index(name) + 1} of {len(names)}, counted from its pending Workloads by"
        " priority and age; Kueue's visibility API does not answer",
    )


def is_admitted(workload: Manifest) -> bool:
    """Whether a Workload may run."""
    evicted = condition(workload, "Evicted").get("status") == "True"
    return condition(workload, "Admitted").get("status") == "True" and not evicted


def _waits(workload: Manifest) -> bool:
    ended = condition(workload, "Finished").get("status") == "True"
    held = (workload.get("spec") or {}).get("active") is False
    return not ended and not held and not is_admitted(workload)


def _turn(workload: Manifest) -> tuple[int, str, str]:
    metadata = workload["metadata"]
    priority = (workload.get("spec") or {}).get("priority") or 0
    return -int(priority), str(metadata.get("creationTimestamp")), str(metadata["name"])


def _ordinal(place: object) -> str:
    return str(place + 1) if isinstance(place, int) else "unknown"

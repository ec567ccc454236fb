"""What the operator says of a job, where nothing else tells why it stands still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mmrlhf_api.constants import ConditionType, Phase
from mmrlhfctl.diagnosis.advice import advice
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, words

__all__ = ["status_causes"]

_TOPICS: Final = {
    "Unschedulable": Topic.SCHEDULER,
    "Queued": Topic.QUEUE,
    "ImagePullFailed": Topic.IMAGE,
    "ConfigError": Topic.CONTAINER,
    "PodsRemain": Topic.PODS_REMAIN,
}
_AT_WORK: Final = frozenset({Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED, ""})


def status_causes(facts: Facts) -> Iterator[Cause]:
    """Yield what the status says, as its pods say nothing or may not be read."""
    job = facts.job
    if job.phase in _AT_WORK or not job.message:
        return
    fix, section = advice(job.reason, job.argument)
    told = next(
        (
            facts.told(kind)
            for kind in (ConditionType.SCHEDULED, ConditionType.RUNNING)
            if job.conditions.get(kind, {}).get("status") == "False"
        ),
        Evidence(thing=job.argument, text=f"status.message: {words(job.message)}"),
    )
    yield Cause(
        topic=_TOPICS.get(job.reason, Topic.STARTING),
        certainty=Certainty.LIKELY,
        text=f"the operator says: {words(job.message)}",
        fix=fix,
        section=section,
        evidence=(told,),
    )

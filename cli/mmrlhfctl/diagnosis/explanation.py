"""Why a job is where it is: one ranked answer from all that was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmrlhf.client.times import parse_time
from mmrlhf_api.constants import Phase
from mmrlhf_api.progress import STEP, TOTAL_STEPS
from mmrlhfctl.diagnosis.answers import Answer, Cause, Topic, rank
from mmrlhfctl.diagnosis.ending_causes import ending_causes
from mmrlhfctl.diagnosis.facts import Facts, words
from mmrlhfctl.diagnosis.gang_causes import gang_causes
from mmrlhfctl.diagnosis.job_causes import job_causes
from mmrlhfctl.diagnosis.place_causes import place_causes
from mmrlhfctl.diagnosis.pod_causes import pod_causes
from mmrlhfctl.diagnosis.queue_causes import queue_causes
from mmrlhfctl.diagnosis.refusal_causes import refusal_causes
from mmrlhfctl.diagnosis.status_causes import status_causes
from mmrlhfctl.durations import format_age

__all__ = ["explain"]


def explain(facts: Facts) -> Answer:
    """Return why a job is where it is: causes with a fix each, the most certain first."""
    found = list(ending_causes(facts) if facts.job.ended else _of_waiting(facts))
    if all(cause.topic is Topic.OPERATOR for cause in found):
        found += status_causes(facts)
    causes = rank(found)
    return Answer(
        headline=_headline(facts, found=bool(causes)),
        causes=causes,
        facts=tuple(_facts(facts, causes)),
        unread=facts.unread,
    )


def _of_waiting(facts: Facts) -> Iterator[Cause]:
    yield from job_causes(facts)
    yield from refusal_causes(facts)
    yield from queue_causes(facts)
    yield from gang_causes(facts)
    yield from pod_causes(facts)
    yield from place_causes(facts)


def _headline(facts: Facts, *, found: bool) -> str:
    job = facts.job
    if job.was_cancelled:
        return "it was cancelled"
    if job.failed:
        return "it failed"
    if job.phase == Phase.SUCCEEDED:
        return "it has succeeded"
    if job.phase == Phase.RUNNING:
        return "it runs, but:" if found else "it runs, and nothing is found to be wrong"
    phase = f"it is {job.phase}" if job.phase else "it has no phase yet"
    why = f" ({job.reason})" if job.reason else ""
    if found:
        return f"{phase}{why}, because:"
    unread = ", but not everything could be looked at" if facts.unread else ""
    return f"{phase}{why}: nothing is found to be in its way{unread}"


def _facts(facts: Facts, causes: Sequence[Cause]) -> Iterator[str]:
    """What else is worth knowing of it."""
    job = facts.job
    said = words(job.message)
    told = [text for one in causes for text in (one.text, *(e.text for e in one.evidence))]
    if not job.ended and said and not any(said in text for text in told):
        yield f"the operator says: {said}"
    progress = job.progress
    step, total = progress.get(STEP.name), progress.get(TOTAL_STEPS.name)
    if job.phase == Phase.RUNNING and step is not None:
        updated = parse_time(progress.get("updatedAt"))
        yield (
            f"step {step}"
            + (f" of {total}" if total is not None else "")
            + (f", reported {format_age(updated, facts.now)} ago" if updated else "")
        )
    restarts = job.status.get("restarts") or 0
    if job.attempt and (job.failed or job.phase == Phase.RUNNING):
        yield f"attempt {job.attempt}; {restarts} of {job.max_restarts} restarts used"
    faults = [
        f"{entry.get('name')} ({entry.get('count')})"
        for entry in job.status.get("nodeFaults") or ()
    ]
    if faults:
        yield f"attempts failed on nodes: {', '.join(faults)}"

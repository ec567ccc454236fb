"""Pods whose part of an attempt is done: they may go while others still work.

What has ended well may be deleted by anybody, such as a garbage collector or who drains a node, and
is then not there any more. So it is written down as soon as it is seen, and counts as done from
then on: nothing of the attempt is lost with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmrlhf_api import EndedWell
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.rendering.names import pod_name
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.sightings import Sightings
from mmrlhf_operator.state.views import Observed

__all__ = ["note_done", "with_done"]


def note_done(draft: Draft, pods: Sequence[PodView]) -> None:
    """Write down which pods of the current attempt have ended well while others have not."""
    done = tuple(pod.index for pod in pods if pod.succeeded)
    if not done or len(done) == len(pods):
        return
    known, attempt = draft.status.ended_well, draft.status.attempt
    since = draft.moment if known is None or known.attempt != attempt else known.since
    draft.change(ended_well=EndedWell(attempt=attempt, since=since, indexes=done))


def with_done(draft: Draft, observed: Observed) -> Observed:
    """What was observed, with those pods that are gone and had ended well before."""
    known, attempt = draft.status.ended_well, draft.status.attempt
    if known is None or known.attempt != attempt:
        return observed
    there = {pod.index for pod in observed.pods_of(attempt)}
    gone = (
        PodView(
            name=pod_name(draft.stem, attempt=attempt, index=index),
            uid="",
            owner=draft.view.uid,
            attempt=attempt,
            index=index,
            phase="Succeeded",
            created_at=known.since,
            seen=Sightings(pod=known.since, ended=known.since),
        )
        for index in known.indexes
        if index not in there
    )
    return replace(observed, pods=(*observed.pods, *gone))

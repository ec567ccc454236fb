"""Deleting the pods of a job, gently first."""

from __future__ import annotations

from collections.abc import Iterable

from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.planning.actions import DeletePod
from mmrlhf_operator.planning.deadlines import force_at
from mmrlhf_operator.planning.draft import Draft
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import Observed, after

__all__ = ["remove"]

_LOOK_AGAIN_SECONDS = 15.0


def remove(
    draft: Draft, pods: Iterable[PodView], observed: Observed, config: OperatorConfig
) -> None:
    """Delete pods, and by force those that a lost node keeps."""
    for pod in pods:
        if pod.delete_at is None:
            draft.actions.append(DeletePod(name=pod.name, uid=pod.uid))
            continue
        due = force_at(pod, observed, config.deadlines)
        if due is not None and draft.now >= due:
            draft.actions.append(DeletePod(name=pod.name, uid=pod.uid, force=True))
            continue
        # Its node may be lost from now on, which nobody tells.
        draft.wake(max(pod.delete_at, after(draft.now, _LOOK_AGAIN_SECONDS)))
        draft.wake(due)

"""Objects as the API server has them, for commands that show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from mmrlhf.client.views import JobView, PodView
from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX, LABEL_JOB, LABEL_KIND
from tests.unit.api.specimens import changed

__all__ = ["NOW", "ago", "condition", "event", "job", "job_body", "pod", "pod_body"]

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def ago(**span: float) -> str:
    """The time that long before `NOW`, as the API server writes it."""
    return (NOW - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, reason: str, message: str = "", status: str = "True") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": ago(minutes=5),
    }


def job_body(
    kind: str = "MMDPOJob",
    name: str = "digits",
    *,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    body = changed(kind, **changes)
    body["metadata"] = {
        "name": name,
        "namespace": "vision",
        "uid": f"uid-{name}",
        "generation": 1,
        "resourceVersion": "7",
        "creationTimestamp": ago(hours=4),
        "managedFields": [{"manager": "mmrlhfctl"}],
        **(metadata or {}),
    }
    return body | ({} if status is None else {"status": status})


def job(*args: Any, **more: Any) -> JobView:
    return JobView.read(job_body(*args, **more))


def pod_body(
    name: str = "digits-0-0",
    *,
    attempt: int = 0,
    rank: int = 0,
    state: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    if state is not None:
        status["containerStatuses"] = [{"name": "job", "state": state}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "uid": f"uid-{name}",
            "creationTimestamp": ago(minutes=9),
            "labels": {
                LABEL_KIND: "MMDPOJob",
                LABEL_JOB: "digits",
                LABEL_ATTEMPT: str(attempt),
                LABEL_INDEX: str(rank),
            },
            "ownerReferences": [{"uid": "uid-digits", "controller": True}],
        },
        "spec": {"containers": [{"name": "job"}], **(spec or {})},
        "status": {"phase": "Pending", **status},
    }


def pod(*args: Any, **more: Any) -> PodView:
    view = PodView.read(pod_body(*args, **more))
    assert view is not None
    return view


def event(
    name: str, reason: str, message: str, *, kind: str = "Pod", **more: Any
) -> dict[str, Any]:
    ours = kind.endswith("Job")
    return {
        "metadata": {"name": f"{name}.1", "uid": f"{name}-{reason}", "resourceVersion": "1"},
        "involvedObject": {
            "kind": kind,
            "name": name,
            "uid": f"uid-{name}",
            "apiVersion": "mmrlhf.io/v1alpha1" if ours else "v1",
        },
        "type": "Normal",
        "reason": reason,
        "message": message,
        "lastTimestamp": ago(minutes=2),
        **more,
    }

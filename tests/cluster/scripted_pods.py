"""Pods that do what a test says: their phases are written through the status subresource.

This plays the kubelet for pods on nodes that have none. Only the state that the test names is
written; scheduling, garbage collection and eviction are done by the real controllers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cluster.api import Api

Manifest = dict[str, Any]


def run(api: Api, namespace: str, name: str, *, address: str | None = None) -> None:
    """All containers run and are ready."""
    state = {"running": {"startedAt": _now()}}
    _write(api, namespace, name, phase="Running", state=state, ready=True, address=address)


def wait_in(api: Api, namespace: str, name: str, *, reason: str, message: str = "") -> None:
    """All containers wait, as with `ImagePullBackOff` or `CreateContainerConfigError`."""
    state = {"waiting": {"reason": reason, "message": message}}
    _write(api, namespace, name, phase="Pending", state=state, ready=False)


def finish(
    api: Api,
    namespace: str,
    name: str,
    *,
    exit_code: int = 0,
    message: str = "",
    reason: str | None = None,
    ahead: timedelta = timedelta(0),
) -> None:
    """All containers end.

    Args:
        api: the cluster.
        namespace: of the pod.
        name: of the pod.
        exit_code: of each container; 0 makes the pod Succeeded, and any other one Failed.
        message: the termination message.
        reason: of the end, as `OOMKilled`; by default what the kubelet says for the exit code.
        ahead: how far the clock of the node is ahead.
    """
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Error" if exit_code else "Completed"),
        "message": message,
        "startedAt": _now(),
        "finishedAt": _now(ahead),
    }
    phase = "Failed" if exit_code else "Succeeded"
    _write(api, namespace, name, phase=phase, state={"terminated": terminated}, ready=False)


def end_beside(api: Api, namespace: str, name: str, *, beside: str, crashed: bool = False) -> None:
    """The pod's containers end well; one that a policy put beside them runs on, or crashed."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    known = api.get(path)["status"]["containerStatuses"]
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": _now(), "finishedAt": _now()}
    statuses = [{**entry, "ready": False, "state": {"terminated": ended}} for entry in known]
    crash = {"terminated": {**ended, "exitCode": 1, "reason": "Error"}}
    state = crash if crashed else {"running": {"startedAt": _now()}}
    other = {**known[0], "name": beside, "ready": False, "state": state}
    changed: Manifest = {"containerStatuses": [*statuses, other]}
    if crashed:  # nothing of the pod runs any more, and a container of it has failed
        changed["phase"] = "Failed"
    api.patch(f"{path}/status", {"status": changed})


def take(api: Api, namespace: str, name: str, *, reason: str, message: str) -> None:
    """The kubelet takes the pod away, or never lets it begin, and says why."""
    taken = {"phase": "Failed", "reason": reason, "message": message}
    api.patch(f"/api/v1/namespaces/{namespace}/pods/{name}/status", {"status": taken})


def evict(api: Api, namespace: str, name: str, *, reason: str = "PreemptionByScheduler") -> None:
    """The pod fails through no fault of its own, as its `DisruptionTarget` condition says.

    The condition is first, as it is of those who evict: an end without it would be one of its own.
    """
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
    # Strategic merge would need a server that knows the condition: add to the list by hand.
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    conditions = [
        *api.get(path)["status"]["conditions"],
        {**condition, "lastTransitionTime": _now()},
    ]
    api.patch(f"{path}/status", {"status": {"conditions": conditions}})
    finish(api, namespace, name, exit_code=137, reason="Error")


def vanish(api: Api, namespace: str, name: str) -> None:
    """The pod's deletion completes, as when its kubelet has stopped the containers."""
    api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", grace_seconds=0)


def _write(
    api: Api,
    namespace: str,
    name: str,
    *,
    phase: str,
    state: Manifest,
    ready: bool,
    address: str | None = None,
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    pod = api.get(path)
    flag = "True" if ready else "False"
    kinds = {"Initialized": "True", "Ready": flag, "ContainersReady": flag}
    old = [c for c in pod["status"].get("conditions", ()) if c["type"] not in kinds]
    new = [{"type": t, "status": s, "lastTransitionTime": _now()} for t, s in kinds.items()]
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": f"{container['image']}@sha256:{'0' * 64}",
            "containerID": f"scripted://{name}-{container['name']}",
            "ready": ready,
            "started": "running" in state,
            "restartCount": 0,
            "state": state,
        }
        for container in pod["spec"]["containers"]
    ]
    status: Manifest = {
        "phase": phase,
        "conditions": [*old, *new],
        "containerStatuses": containers,
        "startTime": pod["status"].get("startTime") or _now(),
    }
    if address is not None:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    api.patch(f"{path}/status", {"status": status})


def _now(ahead: timedelta = timedelta(0)) -> str:
    return (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")

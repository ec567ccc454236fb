"""Carrying out a plan: the status, then actions.

Every step may be the last before a crash, and may be made twice: names are deterministic, deletions
name the UID, and the status is written only on top of the version that the plan was made from.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from mmrlhf_api.base import ApiModel, wire_dict
from mmrlhf_api.constants import API_VERSION, MANAGER
from mmrlhf_operator.errors import PostponeError, ServerError, UnreachableError
from mmrlhf_operator.kube.api import Api, Manifest, collection, collection_of, jobs
from mmrlhf_operator.kube.concurrency import run_all
from mmrlhf_operator.kube.timestamps import format_time
from mmrlhf_operator.planning.actions import (
    Action,
    Create,
    DeleteJob,
    DeletePod,
    DeleteService,
    DeleteWorkload,
    Disband,
    Note,
    PatchWorkload,
    RankWorkload,
)
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.state.metadata import owner_uid
from mmrlhf_operator.state.views import Finding, JobView

_LOG = logging.getLogger(__name__)

__all__ = [
    "Seen",
    "Subject",
    "act",
    "conflict_with",
    "emit",
    "event_name",
    "merge_patch",
    "write_status",
]

_AT_ONCE = 16
_PREVIOUS_SECONDS = 1.0


class Seen(Protocol):
    """An object as it was read."""

    @property
    def resource_version(self) -> str:
        """Its version, for optimistic locking."""

    @property
    def status(self) -> ApiModel:
        """Its status."""


async def write_status(api: Api, path: str, seen: Seen, status: ApiModel) -> Manifest | None:
    """Write a status, if it differs; returns the object as the server has it then.

    Raises:
        ServerError: ``is_conflict`` when the object has changed since it was read.
    """
    if status == seen.status:
        return None
    # What the server does not hold yet is written even where it is the default.
    held = seen.status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    patch = merge_patch(held, wire_dict(status))
    body = {"metadata": {"resourceVersion": seen.resource_version}, "status": patch}
    return await api.patch(f"{path}/status", body)


def merge_patch(before: Any, after: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON merge patch (RFC 7386) that turns one JSON value into another."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before or before[key] != value:
            patch[key] = merge_patch(before.get(key), value)
    return patch


class Named(Protocol):
    """What bears a name that users know it by."""

    @property
    def name(self) -> str:
        """The name."""


class Subject(Named, Protocol):
    """An object that events are about."""

    @property
    def kind(self) -> Named:
        """Its kind."""

    @property
    def namespace(self) -> str:
        """Where it is."""

    @property
    def uid(self) -> str:
        """Its identity."""


async def emit(api: Api, job: Subject, note: Note) -> None:
    """Emit a Kubernetes event; one that exists already was emitted before a crash."""
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(job, note), "namespace": job.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": job.kind.name,
            "name": job.name,
            "namespace": job.namespace,
            "uid": job.uid,
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:1024],
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "action": note.reason,
        "count": 1,
        "firstTimestamp": format_time(note.at),
        "lastTimestamp": format_time(note.at),
    }
    try:
        await api.create(collection("Event", job.namespace), event)
    except ServerError as error:
        if error.is_final or error.is_missing:
            # A namespace on its way out takes no events; rights may be missing. A job must not
            # wait for its event, but it is told where the operator's log is read.
            _LOG.warning(
                "the event %s of %s %s/%s was refused and is dropped: %s",
                *(note.reason, job.kind.name, job.namespace, job.name, error),
            )
            return
        if not error.is_conflict or not await _has_event(api, job, event_name(job, note)):
            raise


async def _has_event(api: Api, job: Subject, name: str) -> bool:
    """Whether there is an event; asked by a list of one, which takes the right that there is."""
    events = collection("Event", job.namespace)
    selector = f"metadata.name={name}"  # the one field by which the server reads nothing else
    return bool(await api.all_metadata(events, ("name",), fieldSelector=selector))


def event_name(job: Subject, note: Note) -> str:
    """Name of the event that a note becomes, the same each time."""
    digest = hashlib.sha256(f"{job.uid}/{note.key}".encode()).hexdigest()
    return f"{job.name}.{digest[:16]}"


async def act(
    api: Api,
    job: JobView,
    actions: Sequence[Action],
    *,
    told: Callable[[str, str | None], None] = lambda _, __: None,
) -> tuple[Finding, ...]:
    """Carry out actions; returns what is in the way of creating something.

    Args:
        api: The API server.
        job: The job.
        actions: What to do.
        told: Told the name of each pod and its UID when it was made, and None for the UID when it
            may have been.

    Raises:
        PostponeError: Objects of an earlier job of the same name are still going.
    """
    shared = [a for a in actions if isinstance(a, Create) and a.kind != "Pod"]
    pods = [a for a in actions if isinstance(a, Create) and a.kind == "Pod"]
    found: list[Finding] = []
    for creation in shared:
        found.extend(await _create(api, job, creation.manifest))
    if found:
        return tuple(found)  # pods without their Service or job file would only fail
    found.extend(await _create_gang(api, job, [creation.manifest for creation in pods], told))
    for action in actions:
        if isinstance(action, DeletePod):
            await api.delete(
                f"{collection('Pod', job.namespace)}/{action.name}",
                uid=action.uid,
                grace=0 if action.force else None,
            )
        elif isinstance(action, DeleteService | DeleteWorkload):
            kind = "Service" if isinstance(action, DeleteService) else "Workload"
            await api.delete(f"{collection(kind, job.namespace)}/{action.name}", uid=action.uid)
        elif isinstance(action, Disband):
            await _disband(api, job, action)
        elif isinstance(action, PatchWorkload):
            path = f"{collection('Workload', job.namespace)}/{action.name}/status"
            metadata = {"uid": action.uid, "resourceVersion": action.version}
            await api.patch(path, {"metadata": metadata, "status": action.status})
        elif isinstance(action, RankWorkload):
            path = f"{collection('Workload', job.namespace)}/{action.name}"
            metadata = {"uid": action.uid, "resourceVersion": action.version}
            await api.patch(path, {"metadata": metadata, "spec": action.spec})
        elif isinstance(action, DeleteJob):
            await api.delete(f"{jobs(job.kind, job.namespace)}/{job.name}", uid=action.uid)
    return tuple(found[:1])


async def _disband(api: Api, job: JobView, action: Disband) -> None:
    path = f"/apis/{action.api}/namespaces/{job.namespace}/podgroups/{action.name}"
    there = await api.find(path)
    if there is not None and owner_uid(there) == job.uid:
        await api.delete(path, uid=there["metadata"]["uid"])


async def conflict_with(api: Api, job: JobView, manifest: Manifest) -> Finding | None:
    """Return who has an object's name, None when it is free or the object is ours.

    Raises:
        PostponeError: It belongs to an earlier job of the same name, which is on its way out.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    there = await api.find(f"{collection_of(manifest, job.namespace)}/{name}")
    if there is None or owner_uid(there) == job.uid:
        return None
    owners = there["metadata"].get("ownerReferences") or ()
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller and (controller["kind"], controller["name"]) == (job.kind.name, job.name):
        raise PostponeError(
            f"{kind} {name} of an earlier job of this name is not gone yet",
            seconds=_PREVIOUS_SECONDS,
        )
    owner = f"{controller['kind']} {controller['name']}" if controller else "someone else"
    return Finding(
        reason=OperatorReason.NAME_CONFLICT,
        message=(
            f"{kind} {name}, which this job needs, exists and belongs to {owner}; remove it, or"
            " create the job under another name"
        ),
    )


async def _who_is_there(api: Api, job: JobView, manifest: Manifest) -> list[Finding]:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    conflict = await conflict_with(api, job, manifest)
    if conflict is not None:
        return [conflict]
    if await api.find(f"{collection_of(manifest, job.namespace)}/{name}") is None:
        raise PostponeError(f"{kind} {name} has just gone", seconds=_PREVIOUS_SECONDS)
    return []


async def _create_gang(
    api: Api,
    job: JobView,
    pods: Sequence[Manifest],
    told: Callable[[str, str | None], None],
) -> list[Finding]:
    """Create pods until one is refused; the next plan gives back what was made by then."""
    found: list[Finding] = []

    async def create(manifest: Manifest) -> None:
        if not found:
            found.extend(await _create(api, job, manifest, told))

    # An error stops none of the others: no request may be left half sent.
    await run_all((create(manifest) for manifest in pods), at_once=_AT_ONCE)
    return found


async def _create(
    api: Api,
    job: JobView,
    manifest: Manifest,
    told: Callable[[str, str | None], None] = lambda _, __: None,
) -> list[Finding]:
    name = manifest["metadata"]["name"]
    try:
        made = await api.create(collection_of(manifest, job.namespace), manifest)
    except UnreachableError:
        told(name, None)
        raise
    except ServerError as error:
        if error.is_conflict:
            return await _who_is_there(api, job, manifest)
        if error.is_final:
            message = f"the API server refuses {manifest['kind']} {name}: {error.message}"
            return [Finding(reason=OperatorReason.CREATION_REFUSED, message=message)]
        told(name, None)
        raise
    told(name, made["metadata"].get("uid"))
    return []

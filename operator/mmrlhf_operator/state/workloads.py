"""A Workload of Kueue and its flavours as decisions see them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmrlhf_operator.state.containers import as_words
from mmrlhf_operator.state.metadata import owner_uid

__all__ = ["FlavorView", "WorkloadCondition", "WorkloadView"]


@dataclass(frozen=True, kw_only=True)
class WorkloadCondition:
    """A condition of a Workload."""

    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class WorkloadView:
    """The Workload that stands for a job in its queue.

    Attributes:
        name: Its name.
        uid: Its identity.
        owner: UID of the job that owns it.
        version: Version of the object, for optimistic locking.
        has_priority: Whether it has the priority of a class.
        active: Whether it may be admitted; people switch it off to hold a job.
        deleting: Whether it is being deleted.
        has_admission: Whether it holds quota.
        cluster_queue: Whose quota that is.
        flavors: Names of the flavours that were assigned to it.
        has_topology: Whether Kueue chooses the nodes of the pods.
        updates: What admission checks add to the pods.
        conditions: Its conditions, as JSON.
    """

    name: str
    uid: str
    owner: str | None
    version: str
    has_priority: bool = False
    active: bool = True
    deleting: bool = False
    has_admission: bool = False
    cluster_queue: str = ""
    flavors: tuple[str, ...] = ()
    has_topology: bool = False
    updates: tuple[Mapping[str, Any], ...] = ()
    conditions: str = "[]"

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> WorkloadView:
        """Read an object of the API server."""
        metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
        admission = status.get("admission") or {}
        assigned = admission.get("podSetAssignments") or ()
        checks = status.get("admissionChecks") or ()
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            owner=owner_uid(body),
            version=metadata["resourceVersion"],
            has_priority=bool(spec.get("priorityClassRef")),
            active=spec.get("active") is not False,
            deleting="deletionTimestamp" in metadata,
            has_admission=bool(admission),
            cluster_queue=str(admission.get("clusterQueue", "")),
            flavors=tuple(
                sorted(
                    {name for entry in assigned for name in (entry.get("flavors") or {}).values()}
                )
            ),
            has_topology=any(
                entry.get("topologyAssignment") or entry.get("delayedTopologyRequest")
                for entry in assigned
            ),
            updates=tuple(
                update for check in checks for update in check.get("podSetUpdates") or ()
            ),
            conditions=json.dumps(status.get("conditions") or []),
        )

    @cached_property
    def _read(self) -> Mapping[str, WorkloadCondition]:
        return {
            entry["type"]: WorkloadCondition(
                holds=entry["status"] == "True",
                reason=str(entry.get("reason", "")),
                message=as_words(entry.get("message", "")),
            )
            for entry in json.loads(self.conditions)
        }

    def condition(self, kind: str) -> WorkloadCondition | None:
        """Return a condition; None where nobody has set it."""
        return self._read.get(kind)

    def holds(self, kind: str) -> bool:
        """Whether a condition is true."""
        found = self.condition(kind)
        return found is not None and found.holds

    @property
    def lacks_priority(self) -> bool:
        """Whether it could still be given the priority of a class."""
        return not (self.has_priority or self.deleting or self.holds("Finished"))

    @property
    def evicted(self) -> bool:
        """Whether it must give its quota back."""
        return self.has_admission and (self.holds("Evicted") or not self.active or self.deleting)

    @property
    def admitted(self) -> bool:
        """Whether pods may run."""
        return self.holds("Admitted") and self.has_admission and not self.evicted


@dataclass(frozen=True, kw_only=True)
class FlavorView:
    """A ResourceFlavor: what pods need to run on its nodes.

    Attributes:
        node_labels: Labels of the nodes.
        tolerations: What pods tolerate there.
    """

    node_labels: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> FlavorView:
        """Read an object of the API server."""
        spec = body.get("spec") or {}
        return cls(
            node_labels=dict(spec.get("nodeLabels") or {}),
            tolerations=tuple(spec.get("tolerations") or ()),
        )

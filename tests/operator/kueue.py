"""Kueue as far as a job meets it: its kinds on a real API server, and hands that do what it does.

The kinds have the shape that decides anything here: conditions as `metav1.Condition` demands them,
the status apart from the spec. What Kueue itself would decide (quota, preemption, topology) tests
say in its place; a run against the real one is told in docs/install.md as unproven.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.operator import foreign_kinds

GROUP = "kueue.x-k8s.io"
ROOT = f"/apis/{GROUP}/v1beta2"
_CONDITION = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "observedGeneration": {"type": "integer", "minimum": 0},
        "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
        "message": {"type": "string", "maxLength": 32768},
    },
}
_FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_WORKLOAD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "active": {"type": "boolean", "default": True},
                "priority": {"type": "integer", "format": "int32"},
                "priorityClassRef": {
                    "type": "object",
                    "required": ["group", "kind", "name"],
                    "properties": {key: {"type": "string"} for key in ("group", "kind", "name")},
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "admission": _FREE,
                "admissionChecks": {"type": "array", "items": _FREE},
                "conditions": {
                    "type": "array",
                    "maxItems": 16,
                    "items": _CONDITION,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            },
        },
    },
}
_FLAVOR = {"type": "object", "properties": {"spec": _FREE}}
_QUEUE = {"type": "object", "properties": {"spec": _FREE, "status": _FREE}}


def served(control_plane: Access) -> AbstractContextManager[None]:
    """The API server knows Kueue's kinds within, and neither before nor after."""
    scoped = {
        "Workload": ("Namespaced", _WORKLOAD),
        "ResourceFlavor": ("Cluster", _FLAVOR),
        "LocalQueue": ("Namespaced", _QUEUE),
        "ClusterQueue": ("Cluster", _QUEUE),
    }
    kinds = [
        foreign_kinds.crd(GROUP, "v1beta2", kind, scope=scope, schema=schema)
        for kind, (scope, schema) in scoped.items()
    ]
    return foreign_kinds.served(control_plane, kinds)


class Kueue:
    """What Kueue's controllers do to the Workload of a job."""

    def __init__(self, api: Api, namespace: str, name: str = "mmdpo-demo") -> None:
        self._api = api
        self._path = f"{ROOT}/namespaces/{namespace}/workloads/{name}"

    def exists(self) -> bool:
        return self._api.exists(self._path)

    def body(self) -> dict[str, Any]:
        return self._api.get(self._path)

    def priority(self) -> tuple[str | None, int | None]:
        spec = self.body()["spec"]
        return spec.get("priorityClassRef", {}).get("name"), spec.get("priority")

    def condition(self, kind: str) -> dict[str, Any]:
        entries = self.body().get("status", {}).get("conditions", ())
        return next((entry for entry in entries if entry["type"] == kind), {})

    def holds_quota(self) -> bool:
        status = self.body().get("status", {})
        return "admission" in status and self.condition("Finished").get("status") != "True"

    def admit(self, flavor: str) -> None:
        assignment = {"name": "main", "flavors": {"cpu": flavor}, "count": 2}
        admission = {"clusterQueue": "research", "podSetAssignments": [assignment]}
        says = {"QuotaReserved": True, "Admitted": True, "Evicted": False}
        self._patch({"admission": admission}, says, "Admitted", "admitted by research")

    def refuse(self, message: str) -> None:
        self._patch({}, {"QuotaReserved": False}, "Pending", message)

    def evict(self, message: str) -> None:
        self._patch({}, {"Evicted": True}, "Preempted", message)

    def _patch(
        self, more: dict[str, Any], says: dict[str, bool], reason: str, message: str
    ) -> None:
        kept = [
            entry
            for entry in self.body().get("status", {}).get("conditions", ())
            if entry["type"] not in says
        ]
        new = [
            {
                "type": kind,
                "status": str(holds),
                "reason": reason,
                "message": message,
                "lastTransitionTime": "2026-01-31T12:00:00Z",
            }
            for kind, holds in says.items()
        ]
        self._api.patch(f"{self._path}/status", {"status": {**more, "conditions": kept + new}})

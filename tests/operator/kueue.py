"""Kueue as far as a job meets it: its kinds on a real API server, and hands that do what it does.

The kinds have the shape that decides anything here: conditions as `metav1.Condition` demands them,
the status apart from the spec. What Kueue itself would decide (quota, preemption, topology) tests
say in its place; a run against the real one is told in docs/install.md as unproven.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.cluster.wait import wait_until

GROUP = "kueue.x-k8s.io"
ROOT = f"/apis/{GROUP}/v1beta2"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
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
_WORKLOAD = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"active": {"type": "boolean", "default": True}},
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


@contextmanager
def served(control_plane: Access) -> Iterator[None]:
    """The API server knows Kueue's kinds within, and neither before nor after."""
    api = control_plane.api
    bodies = [
        _crd("Workload", "Namespaced", _WORKLOAD),
        _crd("ResourceFlavor", "Cluster", _FLAVOR),
        _crd("LocalQueue", "Namespaced", _QUEUE),
        _crd("ClusterQueue", "Cluster", _QUEUE),
    ]
    try:
        for body in bodies:
            api.apply(f"{_CRDS}/{body['metadata']['name']}", body)
        plurals = {body["spec"]["names"]["plural"] for body in bodies}
        wait_until(lambda: plurals <= _plurals(api), timeout=60, what="the kinds of Kueue")
        yield
    finally:
        for body in bodies:
            api.delete(f"{_CRDS}/{body['metadata']['name']}")
        wait_until(lambda: not _plurals(api), timeout=60, what="the end of the kinds of Kueue")


def _crd(kind: str, scope: str, schema: dict[str, Any]) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    version = {
        "name": "v1beta2",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def _plurals(api: Api) -> set[str]:
    try:
        names = {entry["name"] for entry in api.get(ROOT)["resources"]}
    except ApiError as error:
        if error.status != 404:
            raise
        return set()
    return {name for name in names if "/" not in name}


class Kueue:
    """What Kueue's controllers do to the Workload of a job."""

    def __init__(self, api: Api, namespace: str, name: str = "mmdpo-demo") -> None:
        self._api = api
        self._path = f"{ROOT}/namespaces/{namespace}/workloads/{name}"

    def exists(self) -> bool:
        return self._api.exists(self._path)

    def body(self) -> dict[str, Any]:
        return self._api.get(self._path)

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

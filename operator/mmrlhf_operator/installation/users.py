"""What users may do to jobs: roles that Kubernetes adds to its own view, edit and admin.

Who has one of those in a namespace then has the like on jobs there (Kubernetes, "Using RBAC
Authorization", "Aggregated ClusterRoles"). Each is whole by itself, so that it can be bound too.
They belong to the kinds, not to the operator: they stay where it alone is removed.
"""

from __future__ import annotations

from typing import Any, Final

from mmrlhf_api.constants import GROUP
from mmrlhf_api.pipelines.resources import all_plurals
from mmrlhf_operator.installation.naming import LABELS

__all__ = ["ROLES", "user_roles"]

Manifest = dict[str, Any]

_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch", "delete", "deletecollection")

ROLES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "view": {"": _READ, "/status": ("get",)},
    "edit": {"": (*_READ, *_WRITE), "/status": ("get",)},
    "admin": {"": (*_READ, *_WRITE), "/status": ("get",), "/finalizers": ("update",)},
}
"""Verbs by subresource of each kind, by Kubernetes' role.

Nobody writes the status: the operator believes what it says. Finalizers are for who sets up what
makes objects that a job owns: some clusters ask it of whoever holds up the deletion of an owner.
"""


def user_roles() -> list[Manifest]:
    """The ClusterRoles; they have none of the labels by which the operator is removed."""
    plurals = all_plurals()
    part = "app.kubernetes.io/part-of"
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {
                "name": f"mmrlhf-{role}",
                "labels": {
                    part: LABELS[part],
                    f"rbac.authorization.k8s.io/aggregate-to-{role}": "true",
                },
            },
            "rules": [
                {
                    "apiGroups": [GROUP],
                    "resources": [f"{plural}{subresource}" for plural in plurals],
                    "verbs": list(verbs),
                }
                for subresource, verbs in rights.items()
            ],
        }
        for role, rights in ROLES.items()
    ]

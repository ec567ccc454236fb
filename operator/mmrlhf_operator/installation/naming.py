"""Names and labels of what is installed."""

from __future__ import annotations

from typing import Any

from mmrlhf_api.constants import MANAGER

__all__ = ["CONFIG_NAME", "LABELS", "NAME", "NAMESPACE", "metadata"]

NAME = MANAGER
"""Name of the Deployment and of everything that belongs to it."""
CONFIG_NAME = f"{NAME}-config"
"""Name of the ConfigMap with its configuration. It is no other object's: kustomize adds a digest to
it, and to every equal name in the ``resourceNames`` of a role."""
NAMESPACE = "mmrlhf-system"
"""Namespace of an operator that serves the whole cluster."""
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "mmrlhf"}
"""Labels of everything; the first one selects the operator's pods."""


def metadata(name: str = NAME, *, namespace: str | None = None) -> dict[str, Any]:
    """Metadata of an object."""
    where = {} if namespace is None else {"namespace": namespace}
    return {"name": name, **where, "labels": dict(LABELS)}

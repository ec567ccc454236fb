"""The files below ``deploy/``: all in one, kustomizations, what narrows the rights, and a chart.

Which is for whom: docs/install.md.
"""

from __future__ import annotations

from typing import Any

import yaml

from mmrlhf_api.crd import crd
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.installation.access import SECRETS, access, secrets_access
from mmrlhf_operator.installation.chart import chart
from mmrlhf_operator.installation.dashboard import dashboard
from mmrlhf_operator.installation.documents import dump
from mmrlhf_operator.installation.monitoring import (
    DASHBOARD_FILE,
    DASHBOARD_NAME,
    dashboard_labels,
    monitor,
    prometheus_rule,
)
from mmrlhf_operator.installation.naming import CONFIG_NAME, NAME, NAMESPACE, metadata
from mmrlhf_operator.installation.settings import settings
from mmrlhf_operator.installation.users import user_roles
from mmrlhf_operator.installation.workload import (
    CONFIG_FILE,
    deployment,
    namespace,
    network_policy,
    service,
)

__all__ = ["BUNDLE", "files"]

BUNDLE = "install.yaml"
"""The file that holds everything: the kinds, and the operator for the whole cluster."""
_TEAM = "mmrlhf"
"""Namespace of an operator that serves one namespace; a kustomization may name another."""


def files(version: str, *, cel: bool = True) -> dict[str, str]:
    """All files by path.

    Args:
        version: Tag of the images.
        cel: Whether the kinds have CEL rules; see `mmrlhf_api.crd`.
    """
    image = f"mmrlhf/operator:{version}"
    whole = {
        "namespace.yaml": [namespace(NAMESPACE)],
        "users.yaml": user_roles(),
        "access.yaml": access(namespace=NAMESPACE, cluster=True),
        "operator.yaml": [
            service(namespace=NAMESPACE),
            network_policy(namespace=NAMESPACE, cluster=True),
            deployment(namespace=NAMESPACE, image=image, cluster=True),
        ],
    }
    single = {
        "access.yaml": access(namespace=_TEAM, cluster=False),
        "operator.yaml": [
            network_policy(namespace=_TEAM, cluster=False),
            deployment(namespace=_TEAM, image=image, cluster=False),
        ],
    }
    return {
        BUNDLE: _bundle(whole, version=version, cel=cel),
        **_kustomization("cluster", whole, namespace=NAMESPACE, version=version),
        **_kustomization("namespace", single, namespace=_TEAM, version=version),
        "secrets/access.yaml": dump(secrets_access(namespace=NAMESPACE)),
        **_monitoring(),
        **{f"chart/{name}": text for name, text in chart(version).items()},
        "without-secrets/kustomization.yaml": dump([_without_secrets(whole["access.yaml"])]),
    }


def _bundle(content: dict[str, list[dict[str, Any]]], *, version: str, cel: bool) -> str:
    """All objects, in an order in which a cluster that has none of them takes one after another.

    The kinds and the roles of their users lack the operator's label: ``kubectl delete --selector``
    removes the operator alone.
    """
    kinds = [crd(kind, cel=cel) for kind in all_resources()]
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(CONFIG_NAME, namespace=NAMESPACE),
        "data": {CONFIG_FILE: settings(version)},
    }
    return dump(
        [
            *content["namespace.yaml"],
            *kinds,
            *content["users.yaml"],
            *content["access.yaml"],
            config,
            *content["operator.yaml"],
        ]
    )


def _kustomization(
    folder: str, content: dict[str, list[dict[str, Any]]], *, namespace: str, version: str
) -> dict[str, str]:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": list(content),
        # Its name gets a digest of its content, so that a change rolls out the operator anew.
        "configMapGenerator": [{"name": CONFIG_NAME, "files": [CONFIG_FILE]}],
    }
    texts = {name: dump(objects) for name, objects in content.items()}
    texts["kustomization.yaml"] = dump([kustomization])
    texts[CONFIG_FILE] = settings(version)
    return {f"{folder}/{name}": text for name, text in texts.items()}


def _monitoring() -> dict[str, str]:
    """What Prometheus and Grafana are given; whoever has an operator for them adds it."""
    resources = {
        "monitor.yaml": monitor(namespace=NAMESPACE),
        "alerts.yaml": [prometheus_rule(namespace=NAMESPACE)],
    }
    generator = {
        "name": DASHBOARD_NAME,
        "files": [DASHBOARD_FILE],
        "options": {"labels": dashboard_labels(), "disableNameSuffixHash": True},
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": list(resources),
        "configMapGenerator": [generator],
    }
    texts = {name: dump(objects) for name, objects in resources.items()}
    texts["kustomization.yaml"] = dump([kustomization])
    texts[DASHBOARD_FILE] = dashboard()
    return {f"monitoring/{name}": text for name, text in texts.items()}


def _without_secrets(content: list[dict[str, Any]]) -> dict[str, Any]:
    """A component that takes the right to read Secrets from the operator for the whole cluster."""
    (role,) = (body for body in content if body["kind"] == "ClusterRole")
    place = f"/rules/{role['rules'].index(SECRETS.rule())}"
    patch = [
        {"op": "test", "path": f"{place}/resources/0", "value": SECRETS.resources[0]},
        {"op": "remove", "path": place},
    ]
    target = {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": [{"target": target, "patch": yaml.safe_dump(patch, sort_keys=False)}],
    }

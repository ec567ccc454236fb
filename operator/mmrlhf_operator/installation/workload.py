"""How the operator runs: a Deployment of two replicas, of which one works.

Both are up and well at all times; a Lease says which one works (see leader.py). The Service leads
to both: a push of progress that meets the replica which stands by is made again a second later.
"""

from __future__ import annotations

from typing import Any

from mmrlhf_api.constants import LABEL_MANAGED_BY, MANAGER
from mmrlhf_operator.config import ENV_PREFIX
from mmrlhf_operator.installation.naming import CONFIG_NAME, LABELS, NAME, metadata
from mmrlhf_operator.serving.health import HEALTH_PATH, READY_PATH

__all__ = [
    "AFFINITY",
    "CONFIG_FILE",
    "METRICS_PORT",
    "READERS",
    "REPLICAS",
    "RESOURCES",
    "SELECTOR",
    "USER",
    "deployment",
    "namespace",
    "network_policy",
    "service",
]

Manifest = dict[str, Any]

CONFIG_FILE = "config.yaml"
"""Key of the ConfigMap that holds the operator's configuration."""
USER = 65532
"""User of the operator's image."""

_CONFIG_FOLDER = "/etc/mmrlhf"
_PROGRESS_PORT = 8081
_HEALTH_PORT = 8080
METRICS_PORT = 8082
"""Port at which Prometheus reads what the operator measures."""
READERS = {"mmrlhf.io/metrics": "read"}
"""Label of namespaces whose pods may read it."""
_TCP = {"protocol": "TCP"}
"""Spelled out, as it is part of a port's key: servers before 1.21 apply no list without it."""
SELECTOR = {"app.kubernetes.io/name": LABELS["app.kubernetes.io/name"]}
"""Labels by which its pods are found."""
REPLICAS = 2
"""How many there are, of which one works."""
RESOURCES: Manifest = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}
"""What each asks of its node."""
AFFINITY: Manifest = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": dict(SELECTOR)},
                },
            }
        ]
    }
}
"""To different nodes, where there are."""
_LOST_NODE_SECONDS = 30


def namespace(name: str) -> Manifest:
    """The operator's namespace, held to the restricted Pod Security Standard."""
    found = metadata(name)
    found["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": found}


def service(*, namespace: str) -> Manifest:
    """Where pods report their progress."""
    port = {"name": "progress", "port": _PROGRESS_PORT, "targetPort": "progress", **_TCP}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace=namespace),
        "spec": {"selector": dict(SELECTOR), "ports": [port]},
    }


def network_policy(*, namespace: str, cluster: bool) -> Manifest:
    """Who may speak to the operator: pods of jobs that report progress, and who reads its measures.

    Probes come from the node, which no policy keeps out (Kubernetes, "Network Policies"). What the
    operator may reach is left open: where the API server and the object stores are differs.

    Args:
        namespace: Its namespace.
        cluster: Whether it takes progress; see `deployment`.
    """
    jobs = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {LABEL_MANAGED_BY: MANAGER}},
    }
    progress = {"from": [jobs], "ports": [{"port": _PROGRESS_PORT, **_TCP}]}
    measures = {
        "from": [{"namespaceSelector": {"matchLabels": dict(READERS)}}],
        "ports": [{"port": METRICS_PORT, **_TCP}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(namespace=namespace),
        "spec": {
            "podSelector": {"matchLabels": dict(SELECTOR)},
            "policyTypes": ["Ingress"],
            "ingress": [progress, measures] if cluster else [measures],
        },
    }


def deployment(*, namespace: str, image: str, cluster: bool) -> Manifest:
    """The operator itself.

    Args:
        namespace: Its namespace.
        image: Its image.
        cluster: Whether it serves all namespaces; if not, it serves its own. Progress is taken only
            if so, as to know who reports it takes a right on the whole cluster.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(namespace=namespace),
        "spec": {
            "replicas": REPLICAS,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": dict(SELECTOR)},
            "template": {
                "metadata": {"labels": dict(LABELS)},
                "spec": _pod(image, cluster=cluster),
            },
        },
    }


def _pod(image: str, *, cluster: bool) -> Manifest:
    return {
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": AFFINITY,
        # Kubernetes would leave a replica on a lost node for five minutes.
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{what}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": _LOST_NODE_SECONDS,
            }
            for what in ("not-ready", "unreachable")
        ],
        "containers": [_container(image, cluster=cluster)],
        "volumes": [
            {"name": "config", "configMap": {"name": CONFIG_NAME}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _container(image: str, *, cluster: bool) -> Manifest:
    return {
        "name": "operator",
        "image": image,
        "args": [f"--config={_CONFIG_FOLDER}/{CONFIG_FILE}", "--leader-elect"],
        "env": _environment(cluster=cluster),
        "ports": [
            {"name": "health", "containerPort": _HEALTH_PORT, **_TCP},
            {"name": "metrics", "containerPort": METRICS_PORT, **_TCP},
            *([{"name": "progress", "containerPort": _PROGRESS_PORT, **_TCP}] if cluster else []),
        ],
        "startupProbe": _probe(HEALTH_PATH, period=2, failures=60),
        "livenessProbe": _probe(HEALTH_PATH, period=10, failures=3),
        "readinessProbe": _probe(READY_PATH, period=5, failures=2),
        "resources": RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(*, cluster: bool) -> list[Manifest]:
    """What follows from the Deployment itself, so that no configuration need repeat it."""
    own = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    addresses = [
        {"name": f"{ENV_PREFIX}HEALTH_ADDRESS", "value": f":{_HEALTH_PORT}"},
        {"name": f"{ENV_PREFIX}METRICS_ADDRESS", "value": f":{METRICS_PORT}"},
    ]
    if not cluster:
        return [*addresses, {"name": f"{ENV_PREFIX}NAMESPACES", "valueFrom": own}]
    url = f"http://{NAME}.$(POD_NAMESPACE).svc:{_PROGRESS_PORT}"
    return [
        *addresses,
        {"name": "POD_NAMESPACE", "valueFrom": own},
        {"name": f"{ENV_PREFIX}PROGRESS_URL", "value": url},
    ]

"""What Prometheus and Grafana are given, where there are operators for them: optional files.

The kinds are those of the Prometheus Operator (``monitoring.coreos.com/v1``); the dashboard is a
ConfigMap with the label that Grafana's side-car looks for (Grafana's Helm chart, "Sidecar for
dashboards").
"""

from __future__ import annotations

from typing import Any, Final

from mmrlhf_operator.installation.alerts import rules
from mmrlhf_operator.installation.naming import NAME, metadata
from mmrlhf_operator.installation.workload import METRICS_PORT, SELECTOR

__all__ = ["DASHBOARD_FILE", "DASHBOARD_NAME", "dashboard_labels", "monitor", "prometheus_rule"]

Manifest = dict[str, Any]

DASHBOARD_FILE: Final = "dashboard.json"
DASHBOARD_NAME: Final = f"{NAME}-dashboard"
_METRICS_NAME: Final = f"{NAME}-metrics"
_GROUP: Final = "monitoring.coreos.com/v1"


def monitor(*, namespace: str) -> list[Manifest]:
    """A Service that leads to the measures of all replicas, and a ServiceMonitor of it."""
    where = metadata(_METRICS_NAME, namespace=namespace)
    where["labels"]["app.kubernetes.io/component"] = "metrics"
    port = {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": where,
        "spec": {"clusterIP": "None", "selector": dict(SELECTOR), "ports": [port]},
    }
    service_monitor = {
        "apiVersion": _GROUP,
        "kind": "ServiceMonitor",
        "metadata": metadata(namespace=namespace),
        "spec": {
            "selector": {"matchLabels": dict(where["labels"])},
            "endpoints": [{"port": "metrics", "interval": "30s"}],
        },
    }
    return [service, service_monitor]


def prometheus_rule(*, namespace: str) -> Manifest:
    """The alerts."""
    return {
        "apiVersion": _GROUP,
        "kind": "PrometheusRule",
        "metadata": metadata(namespace=namespace),
        "spec": rules(),
    }


def dashboard_labels() -> dict[str, str]:
    """Labels of the ConfigMap with the dashboard."""
    return {**metadata()["labels"], "grafana_dashboard": "1"}

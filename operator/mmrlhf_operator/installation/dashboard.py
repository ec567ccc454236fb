"""A dashboard for Grafana: what jobs do, and how the operator gets on.

As the dashboard JSON model of Grafana 9 and later has it ("Dashboard JSON model").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["PANELS", "Panel", "dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
_OURS: Final = "and on (instance, job) mmrlhf_operator_info"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A graph.

    Attributes:
        title: Its title.
        queries: In PromQL, by legend.
        unit: As Grafana calls it.
        stack: Whether the lines are parts of a whole.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    stack: bool = False

    def body(self, number: int) -> dict[str, Any]:
        """The panel as Grafana takes it; its number says where it stands."""
        row, column = divmod(number, _COLUMNS)
        stacking = {"mode": "normal" if self.stack else "none"}
        custom = {"fillOpacity": 20 if self.stack else 0, "stacking": stacking}
        return {
            "id": number + 1,
            "type": "timeseries",
            "title": self.title,
            "datasource": _SOURCE,
            "gridPos": {
                "x": column * _WIDTH,
                "y": row * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
            },
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "custom": custom},
                "overrides": [],
            },
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": _SOURCE,
                    "expr": query,
                    "legendFormat": legend,
                }
                for place, (legend, query) in enumerate(self.queries.items())
            ],
        }


def _quantiles(metric: str) -> dict[str, str]:
    return {
        f"p{part}": f"histogram_quantile(0.{part}, sum by (le) (rate({metric}_bucket[5m])))"
        for part in (50, 90, 99)
    }


PANELS: Final = (
    Panel(
        title="Jobs by phase",
        queries={"{{phase}}": "sum by (phase) (mmrlhf_jobs) > 0"},
        stack=True,
    ),
    Panel(
        title="Jobs that ended, per hour",
        queries={
            "{{phase}} {{reason}}": "sum by (phase, reason) (increase(mmrlhf_jobs_ended_total[1h]))"
        },
        stack=True,
    ),
    Panel(
        title="Restarts by reason, per hour",
        queries={"{{reason}}": "sum by (reason) (increase(mmrlhf_job_restarts_total[1h]))"},
        stack=True,
    ),
    Panel(
        title="Jobs blocked by a request that fails",
        queries={"{{kind}}": "sum by (kind) (mmrlhf_jobs_blocked)"},
    ),
    Panel(
        title="Reconciles by result",
        queries={"{{result}}": "sum by (result) (rate(mmrlhf_reconciles_total[5m]))"},
        unit="ops",
        stack=True,
    ),
    Panel(
        title="Duration of a reconcile",
        queries=_quantiles("mmrlhf_reconcile_duration_seconds"),
        unit="s",
    ),
    Panel(title="Jobs that wait for a worker", queries={"depth": "sum(mmrlhf_queue_depth)"}),
    Panel(
        title="Wait for a worker",
        queries=_quantiles("mmrlhf_queue_wait_seconds"),
        unit="s",
    ),
    Panel(
        title="Posts of progress by answer",
        queries={"{{code}}": "sum by (code) (rate(mmrlhf_progress_pushes_total[5m]))"},
        unit="reqps",
        stack=True,
    ),
    Panel(
        title="Requests to the API server",
        queries={"{{verb}} {{code}}": "sum by (verb, code) (rate(mmrlhf_api_requests_total[5m]))"},
        unit="reqps",
        stack=True,
    ),
    Panel(
        title="Answer of the API server",
        queries=_quantiles("mmrlhf_api_request_duration_seconds"),
        unit="s",
    ),
    Panel(
        title="Lease",
        queries={
            "{{instance}} leads": "mmrlhf_leader",
            "{{result}}": "sum by (result) (rate(mmrlhf_lease_tries_total[5m]))",
            "{{instance}} is deaf": "mmrlhf_watches_deaf",
        },
    ),
    Panel(
        title="Spans of traces",
        queries={"{{result}}": "sum by (result) (rate(mmrlhf_trace_spans_total[5m]))"},
        unit="ops",
        stack=True,
    ),
    Panel(
        title="Memory of the operator",
        queries={"{{instance}}": f"process_resident_memory_bytes {_OURS}"},
        unit="bytes",
    ),
    Panel(
        title="CPU of the operator",
        queries={"{{instance}}": f"rate(process_cpu_seconds_total[5m]) {_OURS}"},
    ),
    Panel(
        title="Versions",
        queries={"{{version}}": "count by (version) (mmrlhf_operator_info)"},
    ),
)
"""All graphs, by rows of three."""


def dashboard() -> str:
    """The dashboard as JSON."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }
    body = {
        "uid": "mmrlhf-operator",
        "title": "mmrlhf operator",
        "tags": ["mmrlhf"],
        "schemaVersion": 36,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [panel.body(number) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(body, indent=2) + "\n"

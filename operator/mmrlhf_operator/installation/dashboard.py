"""A dashboard for Grafana: what jobs do, and how the operator gets on.

As the dashboard JSON model of Grafana 9 and later has it ("Dashboard JSON model").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["PANELS", "ROWS", "Panel", "dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 6, 8, 4
_OURS: Final = "and on (instance, job) mmrlhf_operator_info"

_BY_PHASE: Final = {
    "^(New|Pending)": "yellow",
    "^(Starting|Restarting)": "purple",
    "^Running": "blue",
    "^Suspended": "#808080",
    "^Succeeded": "green",
    "^Failed": "red",
}
_BY_CODE: Final = {"2..$": "blue", "(4..|refused)$": "orange", "(5..|unreachable)$": "red"}
_BY_RESULT: Final = {
    "^(done|sent|held)$": "green",
    "^(postponed|standby)$": "blue",
    "^(conflict|dropped)$": "orange",
    "^failed$": "red",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A graph.

    Attributes:
        title: Its title.
        queries: In PromQL, by legend.
        unit: As Grafana calls it.
        stack: Whether the lines are parts of a whole.
        whole: Whether it counts what there is, so that its axis has no fractions.
        colors: Of lines by their legend, a regular expression; what several lines share they have
            in shades. Others have Grafana's own.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    stack: bool = False
    whole: bool = False
    colors: Mapping[str, str] = field(default_factory=dict)

    def body(self, number: int, *, x: int, y: int) -> dict[str, Any]:
        """The panel as Grafana takes it, by its number and where it stands."""
        stacking = {"mode": "normal" if self.stack else "none"}
        custom: dict[str, Any] = {"fillOpacity": 20 if self.stack else 0, "stacking": stacking}
        defaults = {"unit": self.unit, "min": 0, "custom": custom}
        if self.whole:
            defaults["decimals"] = 0
            custom["axisSoftMax"] = 4  # lines at 0 would else have an axis up to 100
        return {
            "id": number,
            "type": "timeseries",
            "title": self.title,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
            "fieldConfig": {
                "defaults": defaults,
                "overrides": [
                    {
                        "matcher": {"id": "byRegexp", "options": f"/{legend}/"},
                        "properties": [
                            {"id": "color", "value": {"mode": "shades", "fixedColor": color}}
                        ],
                    }
                    for legend, color in self.colors.items()
                ],
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


ROWS: Final = {
    "Jobs": (
        Panel(
            title="Jobs by phase",
            queries={"{{phase}}": "sum by (phase) (mmrlhf_jobs) > 0"},
            stack=True,
            whole=True,
            colors=_BY_PHASE,
        ),
        Panel(
            title="Jobs that ended, per hour",
            queries={
                "{{phase}} {{reason}}": (
                    "sum by (phase, reason) (increase(mmrlhf_jobs_ended_total[1h])) > 0"
                )
            },
            stack=True,
            whole=True,
            colors=_BY_PHASE,
        ),
        Panel(
            title="Restarts by reason, per hour",
            queries={"{{reason}}": "sum by (reason) (increase(mmrlhf_job_restarts_total[1h])) > 0"},
            stack=True,
            whole=True,
        ),
        Panel(
            title="Jobs blocked by a request that fails",
            queries={"{{kind}}": "sum by (kind) (mmrlhf_jobs_blocked)"},
            whole=True,
        ),
    ),
    "Work": (
        Panel(
            title="Reconciles by result",
            queries={"{{result}}": "sum by (result) (rate(mmrlhf_reconciles_total[5m]))"},
            unit="ops",
            stack=True,
            colors=_BY_RESULT,
        ),
        Panel(
            title="Duration of a reconcile",
            queries=_quantiles("mmrlhf_reconcile_duration_seconds"),
            unit="s",
        ),
        Panel(
            title="Jobs that wait for a worker",
            queries={"jobs": "sum(mmrlhf_queue_depth)"},
            whole=True,
        ),
        Panel(
            title="Wait for a worker",
            queries=_quantiles("mmrlhf_queue_wait_seconds"),
            unit="s",
        ),
    ),
    "Requests": (
        Panel(
            title="Requests to the API server",
            queries={
                "{{verb}} {{code}}": "sum by (verb, code) (rate(mmrlhf_api_requests_total[5m]))"
            },
            unit="reqps",
            stack=True,
            colors=_BY_CODE,
        ),
        Panel(
            title="Answer of the API server",
            queries=_quantiles("mmrlhf_api_request_duration_seconds"),
            unit="s",
        ),
        Panel(
            title="Posts of progress by answer",
            queries={"{{code}}": "sum by (code) (rate(mmrlhf_progress_pushes_total[5m]))"},
            unit="reqps",
            stack=True,
            colors=_BY_CODE,
        ),
        Panel(
            title="Spans of traces",
            queries={"{{result}}": "sum by (result) (rate(mmrlhf_trace_spans_total[5m]))"},
            unit="ops",
            stack=True,
            colors=_BY_RESULT,
        ),
    ),
    "Replicas": (
        Panel(
            title="Replicas",
            queries={
                "of version {{version}}": "count by (version) (mmrlhf_operator_info)",
                "that lead": "sum(mmrlhf_leader)",
                "that miss changes": "sum(mmrlhf_watches_deaf)",
            },
            whole=True,
            colors={"^of version": "blue", "lead$": "green", "changes$": "red"},
        ),
        Panel(
            title="Tries at the Lease by result",
            queries={"{{result}}": "sum by (result) (rate(mmrlhf_lease_tries_total[5m]))"},
            unit="ops",
            colors=_BY_RESULT,
        ),
        Panel(
            title="Memory",
            queries={"{{instance}}": f"process_resident_memory_bytes {_OURS}"},
            unit="bytes",
        ),
        Panel(
            title="CPU, of one core",
            queries={"{{instance}}": f"rate(process_cpu_seconds_total[5m]) {_OURS}"},
            unit="percentunit",
        ),
    ),
}
"""Graphs by what they are about, four in a row."""

PANELS: Final = tuple(panel for panels in ROWS.values() for panel in panels)
"""All graphs."""


def _bodies() -> Iterator[dict[str, Any]]:
    """Rows with their headings, each as high as Grafana has it."""
    number, y = 1, 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": _WIDTH * _COLUMNS, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        number, y = number + 1, y + 1
        for column, panel in enumerate(panels):
            yield panel.body(number, x=column * _WIDTH, y=y)
            number += 1
        y += _HEIGHT


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
        "panels": list(_bodies()),
    }
    return json.dumps(body, indent=2) + "\n"

"""Prometheus itself reads alerts and dashboard, and each alert fires when it should."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrlhf_operator.installation.alerts import ALERTS, rules
from mmrlhf_operator.installation.dashboard import PANELS
from tests.prometheus import program


@dataclass(frozen=True)
class Case:
    """What an alert is to see.

    Attributes:
        wrong: Series by which it fires, every 31 s, as promtool writes values.
        right: Series by which it does not.
        says: What it then says.
        labels: What it then names.
    """

    wrong: dict[str, str]
    right: dict[str, str]
    says: str
    labels: dict[str, str] = field(default_factory=dict)


EACH_FOUR_MINUTES = " ".join(f"{count}x7" for count in range(26))
WAITS = 'mmrlhf_queue_wait_seconds_bucket{le="%s"}'
CASES = {
    "MmrlhfNobodyLeads": Case(
        {'mmrlhf_leader{instance="a"}': "0x200", 'mmrlhf_leader{instance="b"}': "0x200"},
        {'mmrlhf_leader{instance="a"}': "0x200", 'mmrlhf_leader{instance="b"}': "1x200"},
        "No replica of the operator works, so that jobs neither start nor end.",
    ),
    "MmrlhfLeaseFails": Case(
        {'mmrlhf_lease_tries_total{result="failed"}': "0+4x200"},
        {'mmrlhf_lease_tries_total{result="failed"}': "0+2x200"},
        "Replicas of the operator can neither take nor renew the Lease.",
    ),
    "MmrlhfWatchesDeaf": Case(
        {
            'mmrlhf_watches_deaf{instance="a"}': "0x200",
            'mmrlhf_watches_deaf{instance="b"}': "1x200",
        },
        {'mmrlhf_watches_deaf{instance="a"}': "0x200"},
        "A watch of the operator misses changes, and a restart has not helped.",
    ),
    "MmrlhfReconcilesFail": Case(
        {
            'mmrlhf_reconciles_total{result="failed"}': "0+2x200",
            'mmrlhf_reconciles_total{result="done"}': "0+8x200",
        },
        {
            'mmrlhf_reconciles_total{result="failed"}': "0+1x200",
            'mmrlhf_reconciles_total{result="done"}': "0+20x200",
        },
        "More than a tenth of the reconciles fail.",
    ),
    "MmrlhfJobsBlocked": Case(
        {'mmrlhf_jobs_blocked{kind="MMDPOJob"}': "3x200"},
        {'mmrlhf_jobs_blocked{kind="MMDPOJob"}': "0x200"},
        "3 jobs of kind MMDPOJob wait for a request that fails.",
        {"kind": "MMDPOJob"},
    ),
    "MmrlhfQueueWaits": Case(
        {WAITS % "30": "0+8x200", WAITS % "60": "0+10x200", WAITS % "+Inf": "0+10x200"},
        {WAITS % "30": "0+19x200", WAITS % "60": "0+20x200", WAITS % "+Inf": "0+20x200"},
        "A tenth of the jobs that are due wait for more than 30 s for the operator.",
    ),
    "MmrlhfApiServerFails": Case(
        {
            'mmrlhf_api_requests_total{code="503"}': "0+1x200",
            'mmrlhf_api_requests_total{code="unreachable"}': "0+1x200",
            'mmrlhf_api_requests_total{code="200"}': "0+30x200",
        },
        {
            'mmrlhf_api_requests_total{code="503"}': "0+1x200",
            'mmrlhf_api_requests_total{code="409"}': "0+9x200",
            'mmrlhf_api_requests_total{code="200"}': "0+30x200",
        },
        "The API server fails more than a twentieth of the operator's requests.",
    ),
    "MmrlhfRightsMissing": Case(
        {'mmrlhf_api_requests_total{verb="create",code="403"}': EACH_FOUR_MINUTES},
        {
            'mmrlhf_api_requests_total{verb="create",code="refused"}': "0+1x200",
            'mmrlhf_api_requests_total{verb="get",code="optional"}': "0+1x200",
        },
        "The API server forbids the operator to create something.",
        {"verb": "create"},
    ),
    "MmrlhfProgressRefused": Case(
        {
            'mmrlhf_progress_pushes_total{code="401"}': "0+2x200",
            'mmrlhf_progress_pushes_total{code="204"}': "0+1x200",
        },
        {
            'mmrlhf_progress_pushes_total{code="401"}': "0+1x200",
            'mmrlhf_progress_pushes_total{code="204"}': "0+2x200",
        },
        "Most posts of progress are refused.",
    ),
    "MmrlhfRestartsPileUp": Case(
        # All at once, and by three that fail one after another: no rate is even.
        {'mmrlhf_job_restarts_total{reason="Killed"}': "0 0 7 7 7 21 21 21 25x200"},
        {'mmrlhf_job_restarts_total{reason="Killed"}': "0 0 7 7 7 14 14 14 19x200"},
        "25 restarts of jobs in an hour for Killed.",
        {"reason": "Killed"},
    ),
}


def test_each_alert_fires_when_it_should_and_after_its_time(tmp_path: Path) -> None:
    assert set(CASES) == {alert.name for alert in ALERTS}
    (tmp_path / "alerts.json").write_text(json.dumps(rules()))
    made = {
        "rule_files": ["alerts.json"],
        "evaluation_interval": "30s",
        "tests": [look for alert in ALERTS for look in looks(alert.name)],
    }
    (tmp_path / "tests.json").write_text(json.dumps(made))
    promtool("check", "rules", "alerts.json", folder=tmp_path)
    promtool("test", "rules", "tests.json", folder=tmp_path)


def looks(name: str) -> list[dict[str, Any]]:
    """One test where all is wrong, and one where all is right."""
    (alert,) = (one for one in ALERTS if one.name == name)
    case = CASES[name]
    fired = {
        "exp_labels": {"severity": alert.severity, **case.labels},
        "exp_annotations": {"summary": case.says, "runbook_url": alert.runbook},
    }
    seen: dict[str, list[tuple[str, list[dict[str, Any]]]]] = {
        # A rate takes a few minutes to be one; an hour is what the longest look back.
        "wrong": [("2m", []), (f"{alert.minutes + 15}m", [fired])],
        "right": [(f"{minutes}m", []) for minutes in (2, 20, 40, 60)],
    }
    return [
        {
            "interval": "31s",  # beside the looks at it, as in life: increases are no whole numbers
            "input_series": [
                {"series": series, "values": values}
                for series, values in getattr(case, which).items()
            ],
            "alert_rule_test": [
                {"eval_time": time, "alertname": name, "exp_alerts": alerts}
                for time, alerts in times
            ],
        }
        for which, times in seen.items()
    ]


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = [query for panel in PANELS for query in panel.queries.values()]
    made = [{"record": f"shown:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "shown.json").write_text(json.dumps({"groups": [{"name": "shown", "rules": made}]}))
    told = promtool("check", "rules", "shown.json", folder=tmp_path)
    assert f"{len(queries)} rules found" in told


def promtool(*words: str, folder: Path) -> str:
    """What it says, of files in a folder."""
    done = subprocess.run(
        [str(program("promtool")), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

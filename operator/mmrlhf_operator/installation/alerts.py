"""When the operator, or what it does for jobs, needs a person: rules for Prometheus.

Each leads to a section of its own in docs/troubleshooting.md. None is about one job: that a job
failed is told to whoever submitted it, by its status and events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ALERTS", "Alert", "rules"]

_PAGE: Final = "docs/troubleshooting.md"
_GROUP: Final = "mmrlhf-operator"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A rule.

    Attributes:
        name: Its name.
        expression: What is wrong, in PromQL.
        minutes: For how long it must be.
        severity: ``critical`` where jobs stand still, else ``warning``.
        summary: What is wrong, in a sentence; may name labels.
    """

    name: str
    expression: str
    minutes: int
    severity: str
    summary: str

    @property
    def runbook(self) -> str:
        """Where it says what to do, from the root of the repository."""
        return f"{_PAGE}#alert-{self.name.lower()}"

    def rule(self) -> dict[str, Any]:
        """The rule as Prometheus takes it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": self.runbook},
        }


ALERTS: Final = (
    Alert(
        name="MmrlhfNobodyLeads",
        expression="absent(mmrlhf_leader == 1)",
        minutes=5,
        severity="critical",
        summary="No replica of the operator works, so that jobs neither start nor end.",
    ),
    Alert(
        name="MmrlhfLeaseFails",
        expression='sum(rate(mmrlhf_lease_tries_total{result="failed"}[5m])) > 0.1',
        minutes=10,
        severity="warning",
        summary="Replicas of the operator can neither take nor renew the Lease.",
    ),
    Alert(
        name="MmrlhfWatchesDeaf",
        expression="max(mmrlhf_watches_deaf) == 1",
        minutes=5,
        severity="critical",
        summary="A watch of the operator misses changes, and a restart has not helped.",
    ),
    Alert(
        name="MmrlhfReconcilesFail",
        expression=(
            'sum(rate(mmrlhf_reconciles_total{result="failed"}[10m]))'
            " > 0.1 * sum(rate(mmrlhf_reconciles_total[10m]))"
        ),
        minutes=15,
        severity="warning",
        summary="More than a tenth of the reconciles fail.",
    ),
    Alert(
        name="MmrlhfJobsBlocked",
        expression="sum by (kind) (mmrlhf_jobs_blocked) > 0",
        minutes=15,
        severity="warning",
        summary="{{ $value }} jobs of kind {{ $labels.kind }} wait for a request that fails.",
    ),
    Alert(
        name="MmrlhfQueueWaits",
        expression=(
            "histogram_quantile(0.9, sum by (le) (rate(mmrlhf_queue_wait_seconds_bucket[10m])))"
            " > 30"
        ),
        minutes=15,
        severity="warning",
        summary="A tenth of the jobs that are due wait for more than 30 s for the operator.",
    ),
    Alert(
        name="MmrlhfApiServerFails",
        expression=(
            'sum(rate(mmrlhf_api_requests_total{code=~"5..|429|unreachable"}[10m]))'
            " > 0.05 * sum(rate(mmrlhf_api_requests_total[10m]))"
        ),
        minutes=15,
        severity="warning",
        summary="The API server fails more than a twentieth of the operator's requests.",
    ),
    Alert(
        name="MmrlhfRightsMissing",
        # What is forbidden is tried again each two minutes at the latest.
        expression='sum by (verb) (increase(mmrlhf_api_requests_total{code=~"401|403"}[10m])) > 0',
        minutes=15,
        severity="warning",
        summary="The API server forbids the operator to {{ $labels.verb }} something.",
    ),
    Alert(
        name="MmrlhfProgressRefused",
        expression=(
            'sum(rate(mmrlhf_progress_pushes_total{code=~"401|403|408|413|429"}[10m]))'
            " > 0.5 * sum(rate(mmrlhf_progress_pushes_total[10m]))"
        ),
        minutes=15,
        severity="warning",
        summary="Most posts of progress are refused.",
    ),
    Alert(
        name="MmrlhfRestartsPileUp",
        expression="sum by (reason) (increase(mmrlhf_job_restarts_total[1h])) > 20",
        minutes=5,
        severity="warning",
        summary=(
            '{{ printf "%.0f" $value }} restarts of jobs in an hour for {{ $labels.reason }}.'
        ),
    ),
)
"""All rules."""


def rules() -> dict[str, Any]:
    """The rules as a file of Prometheus, which is also the spec of a PrometheusRule."""
    return {"groups": [{"name": _GROUP, "rules": [alert.rule() for alert in ALERTS]}]}

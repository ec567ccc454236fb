"""What the operator measures about itself, for Prometheus.

No label has more values than this code has words: kinds, phases and reasons from their closed sets,
verbs, HTTP statuses. Names of jobs, namespaces and users are in none, so that neither a busy
cluster nor a user who makes up names lets the series grow, and whoever reads them learns of no
tenant (Prometheus, "Instrumentation", "Do not overuse labels").

Each part of the operator is handed what it tells: this module knows none of them.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Hashable, Iterable
from importlib.metadata import version
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mmrlhf_api import KINDS
from mmrlhf_api.constants import FailureReason, Phase, Reason

__all__ = ["NEW", "OPTIONAL", "OTHER", "REFUSED", "UNREACHABLE", "Metrics"]

NEW: Final = "New"
"""Phase of a job that has no status yet."""
OTHER: Final = "Other"
"""What a word becomes that is in no closed set, as an operator of another version may write."""
REFUSED: Final = "refused"
"""Code of a request that admission refused with 403, by a quota, a policy or a webhook."""
OPTIONAL: Final = "optional"
"""Code of a request for which a right is missing that the operator can do without."""
UNREACHABLE: Final = "unreachable"
"""Code of a request to the API server that had no answer."""

_REASONS: Final = frozenset({*FailureReason, *Reason})
_ENDS: Final = (
    (Phase.SUCCEEDED, Reason.COMPLETED),
    *((Phase.FAILED, reason) for reason in FailureReason),
    (Phase.FAILED, Reason.RESTART_BUDGET_EXHAUSTED),
    (Phase.FAILED, Reason.CANCELLED),
    (Phase.FAILED, Reason.DEPENDENCY_FAILED),
    (Phase.FAILED, Reason.INVALID_SPEC),
)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bounds of the buckets of all durations, in seconds; a reconcile is broken off after 120 s."""


class _OfKind(Hashable, Protocol):
    """Identifies a job."""

    @property
    def kind(self) -> str:
        """Its kind, such as MMDPOJob."""


class _Jobs(Collector):
    """Jobs by kind and phase, counted when they are asked for."""

    def __init__(self) -> None:
        self.seen: dict[_OfKind, tuple[str, bool]] = {}

    def describe(self) -> Iterable[Metric]:
        """The families, without a look at any job."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """The families with the jobs of now; each phase of each kind is there, if only with 0."""
        jobs, blocked = self._families()
        phases: Counts[tuple[str, str]] = Counts()
        stuck: Counts[str] = Counts()
        for key, (phase, is_blocked) in self.seen.items():
            phases[key.kind, phase] += 1
            stuck[key.kind] += is_blocked
        for kind in KINDS:
            for phase in (NEW, *Phase):
                jobs.add_metric([kind, phase], phases[kind, phase])
            blocked.add_metric([kind], stuck[kind])
        return jobs, blocked

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "mmrlhf_jobs", "Jobs that the operator knows, by phase.", labels=["kind", "phase"]
            ),
            GaugeMetricFamily(
                "mmrlhf_jobs_blocked",
                "Jobs with the condition Blocked: a request for them fails again and again.",
                labels=["kind"],
            ),
        )


class Metrics:
    """The measures of one process.

    Attributes:
        registry: Where they are read from.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # when a series began: twice as many series, which nobody asks
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        about = Gauge(
            "mmrlhf_operator_info", "1, with its version.", ["version"], registry=registry
        )
        about.labels(version("mmrlhf")).set(1)
        self._jobs = _Jobs()
        registry.register(self._jobs)
        self._reconciles = Counter(
            "mmrlhf_reconciles",
            "Reconciles: done, conflict (the job had changed), postponed, or failed.",
            ["kind", "result"],
            registry=registry,
        )
        self._reconcile_seconds = Histogram(
            "mmrlhf_reconcile_duration_seconds",
            "How long a reconcile took.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._wait_seconds = Histogram(
            "mmrlhf_queue_wait_seconds",
            "How long a job waited for a worker once it was due.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._depth = Gauge(
            "mmrlhf_queue_depth", "Jobs that wait for a worker now.", registry=registry
        )
        self._requests = Counter(
            "mmrlhf_api_requests",
            "Requests to the API server, by the verb of their right.",
            ["verb", "code"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "mmrlhf_api_request_duration_seconds",
            "How long the API server took to answer.",
            ["verb"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._ended = Counter(
            "mmrlhf_jobs_ended",
            "Jobs that this process saw to their end.",
            ["kind", "phase", "reason"],
            registry=registry,
        )
        self._restarts = Counter(
            "mmrlhf_job_restarts",
            "Restarts of jobs by why the attempt failed; counted are those against maxRestarts.",
            ["kind", "reason", "counted"],
            registry=registry,
        )
        # From 0 on: Prometheus sees no increase in a series that begins with its first event
        # (Prometheus, "Instrumentation", "Avoid missing metrics").
        for kind in KINDS:
            for phase, why in _ENDS:
                self._ended.labels(kind, phase, why)
            for reason in FailureReason:
                for counted in ("true", "false"):
                    self._restarts.labels(kind, reason, counted)
        self._pushes = Counter(
            "mmrlhf_progress_pushes",
            "Posts of progress by the answer: 204 is taken, all others are refused.",
            ["code"],
            registry=registry,
        )
        self._spans = Counter(
            "mmrlhf_trace_spans",
            "Spans of traces: sent, failed (the collector took them not), or dropped (too many"
            " waited for it).",
            ["result"],
            registry=registry,
        )
        self._leads = Gauge("mmrlhf_leader", "1 while this replica works.", registry=registry)
        self._lease_tries = Counter(
            "mmrlhf_lease_tries",
            "Tries to take or renew the Lease: held, standby (another one has it), or failed.",
            ["result"],
            registry=registry,
        )
        self._deaf = Gauge(
            "mmrlhf_watches_deaf",
            "1 while a watch misses changes; Kubernetes then restarts the operator.",
            registry=registry,
        )

    def follow(self, *, depth: Callable[[], int], deaf: Callable[[], bool]) -> None:
        """Take figures of an operator that works: asked for whenever the measures are read.

        Args:
            depth: How many jobs wait for a worker.
            deaf: Whether a watch misses changes.
        """
        self._depth.set_function(depth)
        self._deaf.set_function(deaf)

    def waited(self, seconds: float) -> None:
        """A job that was due has a worker."""
        self._wait_seconds.observe(seconds)

    def worked(self, key: _OfKind, seconds: float, result: str) -> None:
        """A reconcile has ended."""
        self._reconciles.labels(key.kind, result).inc()
        self._reconcile_seconds.labels(key.kind).observe(seconds)

    def asked(self, verb: str, code: str, seconds: float) -> None:
        """The API server has answered, or has not."""
        self._requests.labels(verb, code).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def saw(self, key: _OfKind, phase: Phase | None, *, blocked: bool) -> None:
        """A job is in a phase."""
        self._jobs.seen[key] = (NEW if phase is None else phase, blocked)

    def forget(self, key: _OfKind) -> None:
        """A job is gone."""
        self._jobs.seen.pop(key, None)

    def ended(self, key: _OfKind, phase: Phase, reason: str | None) -> None:
        """A job has ended."""
        self._ended.labels(key.kind, phase, _closed(reason)).inc()

    def restarted(self, key: _OfKind, reason: str | None, *, counted: bool) -> None:
        """An attempt of a job failed, and there will be another."""
        self._restarts.labels(key.kind, _closed(reason), str(counted).lower()).inc()

    def pushed(self, code: int) -> None:
        """Progress was taken or refused."""
        self._pushes.labels(str(code)).inc()

    def traced(self, result: str, count: int) -> None:
        """Spans were sent, or not."""
        self._spans.labels(result).inc(count)

    def leads(self, is_leader: bool) -> None:
        """This replica works, or does no more."""
        self._leads.set(is_leader)

    def tried_lease(self, result: str) -> None:
        """The Lease was asked for."""
        self._lease_tries.labels(result).inc()


def _closed(reason: str | None) -> str:
    return OTHER if reason is None or reason not in _REASONS else reason

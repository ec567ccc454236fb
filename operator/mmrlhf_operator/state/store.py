"""What the watches have seen: jobs and what belongs to them, by job."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.views import ConfigMapView, NetworkPolicyView, ServiceView
from mmrlhf_operator.state.workloads import WorkloadView

__all__ = ["Key", "RunStore", "Store"]


class Key(NamedTuple):
    """A job, by kind and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Store(Protocol):
    """Answers from memory."""

    def keys(self) -> Iterable[Key]:
        """All jobs."""

    def job(self, key: Key) -> dict[str, Any] | None:
        """A job as last seen."""

    def dependents(self, key: Key) -> Iterable[Key]:
        """Jobs that name a job."""

    def pods(self, key: Key, uid: str) -> tuple[PodView, ...]:
        """Pods that the job of that UID owns."""

    def service(self, key: Key, uid: str) -> ServiceView | None:
        """Its Service."""

    def config_map(self, key: Key, uid: str) -> ConfigMapView | None:
        """Its ConfigMap."""

    def network_policy(self, key: Key, uid: str) -> NetworkPolicyView | None:
        """Its NetworkPolicy."""

    def workload(self, key: Key, uid: str) -> WorkloadView | None:
        """Its Workload in a queue of Kueue."""


class RunStore(Protocol):
    """Answers about runs of pipelines from memory."""

    def keys(self) -> Iterable[Key]:
        """Everything of ours that there is."""

    def job(self, key: Key) -> dict[str, Any] | None:
        """A pipeline, a run or a job as last seen."""

    def runs(self, pipeline: Key) -> Iterable[Key]:
        """Runs of a pipeline."""

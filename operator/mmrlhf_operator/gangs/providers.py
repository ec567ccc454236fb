"""The providers of gangs and queues, and which of them a job has.

What a cluster offers is found out by asking its API server for the kinds of each provider.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mmrlhf_api.scheduling import GangProvider, Scheduling

__all__ = ["PROVIDERS", "Choice", "Provider", "choose"]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider that the operator speaks to.

    Attributes:
        name: As ``spec.scheduling.gang`` has it.
        product: What people call it.
        api: Group and version of its API.
        plural: The kind of it that stands for a gang, as in paths.
        needs_queue: Whether a job must name its queue.
        has_queues: Whether a job may.
    """

    name: GangProvider
    product: str
    api: str
    plural: str
    needs_queue: bool = False
    has_queues: bool = False

    @property
    def path(self) -> str:
        """Where the API server says which kinds of the provider it serves."""
        return f"/apis/{self.api}"


PROVIDERS = (
    Provider(
        name="kueue",
        product="Kueue",
        api="kueue.x-k8s.io/v1beta2",
        plural="workloads",
        needs_queue=True,
        has_queues=True,
    ),
    Provider(
        name="volcano",
        product="Volcano",
        api="scheduling.volcano.sh/v1beta1",
        plural="podgroups",
        has_queues=True,
    ),
    Provider(
        name="coscheduling",
        product="the coscheduling plugin",
        api="scheduling.x-k8s.io/v1alpha1",
        plural="podgroups",
    ),
)
"""In the order in which ``auto`` takes them."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which provider a job has.

    Attributes:
        provider: The provider; None where the operator creates the pods and that is all.
        problem: Why it can have none that it asks for, with the field.
    """

    provider: Provider | None = None
    problem: str | None = None


def choose(scheduling: Scheduling, offered: Collection[str]) -> Choice:
    """Return the provider of a job.

    Args:
        scheduling: What the job asks for.
        offered: Names of the providers that the cluster has.
    """
    if scheduling.gang == "none":
        if scheduling.queue is None:
            return Choice()
        return Choice(problem="spec.scheduling.queue: gang is none, which knows no queues")
    if scheduling.gang == "auto":
        return _choose_for_queue(scheduling, offered)
    provider = next(one for one in PROVIDERS if one.name == scheduling.gang)
    problem: str | None = None
    if provider.name not in offered:
        problem = (
            f"spec.scheduling.gang: this cluster has no {provider.name}: the API server does not"
            f" serve {provider.plural} of {provider.api}"
        )
    elif provider.needs_queue and scheduling.queue is None:
        problem = f"spec.scheduling.queue: {provider.product} needs a queue; name one"
    elif scheduling.queue is not None and not provider.has_queues:
        problem = f"spec.scheduling.queue: {provider.product} has no queues; remove it"
    return Choice(problem=problem) if problem else Choice(provider=provider)


def _choose_for_queue(scheduling: Scheduling, offered: Collection[str]) -> Choice:
    if scheduling.queue is None:
        return Choice()
    for provider in PROVIDERS:
        if provider.has_queues and provider.name in offered:
            return Choice(provider=provider)
    return Choice(
        problem=(
            "spec.scheduling.queue: this cluster has neither Kueue nor Volcano, and nobody would"
            " admit the job; remove it, or install one of them"
        )
    )

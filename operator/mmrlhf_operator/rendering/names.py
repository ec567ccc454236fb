"""Names of the objects of a job: deterministic, so that making one twice makes one."""

from __future__ import annotations

from mmrlhf_api import Kind
from mmrlhf_api.job import JobSpec

__all__ = [
    "MAX_ATTEMPT",
    "MAX_LABEL",
    "gang_name",
    "length_problem",
    "pod_host",
    "pod_name",
    "pod_stem",
    "shared_name",
]

MAX_LABEL = 63
"""Most characters of a host name, which a pod's name becomes (RFC 1123)."""
MAX_ATTEMPT = 99_999
"""Highest attempt that names make room for."""


def pod_name(stem: str, *, attempt: int, index: int) -> str:
    """Name of a pod: ``<stem>-<attempt>-<index>``; the stem is the job's name or its `pod_stem`."""
    return f"{stem}-{attempt}-{index}"


def gang_name(stem: str, *, attempt: int) -> str:
    """Name of the PodGroup of an attempt."""
    return f"{stem}-{attempt}"


def pod_stem(kind: Kind, job: str, spec: JobSpec) -> str | None:
    """What names of pods begin with where a job of another kind has the job's name.

    Returns:
        The kind and the name; None when names would be too long.
    """
    stem = shared_name(kind, job)
    longest = pod_name(stem, attempt=MAX_ATTEMPT, index=spec.resources.nodes - 1)
    return stem if len(longest) <= MAX_LABEL else None


def shared_name(kind: Kind, job: str) -> str:
    """Name of the Service and the ConfigMap of a job.

    The kind comes first, as the name of a Service must start with a letter (RFC 1035) while that of
    a job may start with a digit.
    """
    return f"{kind.short_name}-{job}"


def pod_host(pod: str, *, service: str, namespace: str, domain: str | None) -> str:
    """Host name of a pod, for its peers.

    Args:
        pod: Name of the pod.
        service: Its headless Service.
        namespace: Namespace of both.
        domain: Domain of the cluster; without it, the resolver's search list adds it.
    """
    host = f"{pod}.{service}.{namespace}.svc"
    return f"{host}.{domain}" if domain else host


def length_problem(kind: Kind, job: str, spec: JobSpec) -> str | None:
    """Say what is wrong with the job's name if its objects would have names that are too long."""
    longest = max(
        pod_name(job, attempt=MAX_ATTEMPT, index=spec.resources.nodes - 1),
        shared_name(kind, job),
        key=len,
    )
    excess = len(longest) - MAX_LABEL
    if excess <= 0:
        return None
    return (
        f"the job's name is {excess} characters too long: its pods need names such as {longest},"
        f" and a host name has at most {MAX_LABEL}; create the job under a name of at most"
        f" {len(job) - excess} characters"
    )

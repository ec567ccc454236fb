"""Paths of the API server."""

from __future__ import annotations

from urllib.parse import quote

from mmrlhf_api.constants import GROUP, LABEL_JOB, LABEL_KIND, VERSION
from mmrlhf_api.kinds import Kind
from mmrlhf_api.kinds.resource import ResourceNames

__all__ = ["core_path", "job_path", "pod_selector"]


def job_path(kind: ResourceNames, namespace: str | None, name: str | None = None) -> str:
    """Return the path of a job, a pipeline or a run, or of all of a kind.

    Args:
        kind: Its kind.
        namespace: Its namespace; None stands for all.
        name: Its name; None stands for all.
    """
    return _path(f"/apis/{GROUP}/{VERSION}", kind.plural, namespace, name)


def core_path(plural: str, namespace: str | None, name: str | None = None) -> str:
    """Return the path of objects of the core API, such as pods."""
    return _path("/api/v1", plural, namespace, name)


def pod_selector(kind: Kind, name: str) -> str:
    """Return the label selector of a job's pods."""
    return f"{LABEL_KIND}={kind.name},{LABEL_JOB}={name}"


def _path(root: str, plural: str, namespace: str | None, name: str | None) -> str:
    parts = [root]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    return "/".join(parts)

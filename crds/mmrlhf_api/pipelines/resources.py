"""All that the API server is to know of ours: kinds of jobs, pipelines and runs."""

from __future__ import annotations

from mmrlhf_api.kinds.kind import Kind
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.kinds.resource import Resource
from mmrlhf_api.pipelines.registry import RESOURCES

__all__ = ["all_plurals", "all_resources", "resource_of"]


def all_resources() -> list[Kind | Resource]:
    """Return the kinds of jobs, and then the other resources."""
    return [*KINDS.values(), *RESOURCES.values()]


def resource_of(kind: str) -> Kind | Resource:
    """Return the entry of a kind, which must be one of ours."""
    return KINDS[kind] if kind in KINDS else RESOURCES[kind]


def all_plurals() -> tuple[str, ...]:
    """Return the names of all in URLs."""
    return tuple(one.plural for one in all_resources())

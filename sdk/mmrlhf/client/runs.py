"""Pipelines and their runs on a cluster: which are meant, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.client.paths import job_path
from mmrlhf.errors import NotFoundError, UsageError
from mmrlhf_api.constants import GROUP, VERSION
from mmrlhf_api.kinds.resource import Resource
from mmrlhf_api.pipelines import RESOURCES

__all__ = ["RunTargets", "change", "list_of", "read", "run_targets"]


@dataclass(frozen=True)
class RunTargets:
    """Pipelines and runs that the arguments of a command mean.

    Attributes:
        resources: What is listed; empty where objects are named.
        named: Objects, each with its resource.
    """

    resources: tuple[Resource, ...]
    named: tuple[tuple[Resource, str], ...]


def run_targets(words: Sequence[str]) -> RunTargets | None:
    """Return what the arguments of a command mean; None where they mean jobs.

    Forms are those of jobs: ``ar``, ``ar NAME...``, ``ar/NAME ap/NAME``, ``ap,ar``.

    Raises:
        UsageError: Jobs are meant beside runs.
    """
    if not words:
        return None
    if any("/" in word for word in words):
        parts = [word.partition("/") for word in words]
        found = [_resource(kind) for kind, _, _ in parts]
        if not any(found):
            return None
        if not all(found):
            raise UsageError(f"{' '.join(words)}: name runs and pipelines, or jobs, not both")
        return RunTargets(
            (), tuple((one, name) for one, (_, _, name) in zip(found, parts, strict=True) if one)
        )
    kinds = [_resource(word) for word in words[0].split(",")]
    if not any(kinds):
        return None
    resources = tuple(one for one in kinds if one)
    if len(resources) < len(kinds) or (len(words) > 1 and len(resources) > 1):
        raise UsageError(f"{' '.join(words)}: name one kind with names, or KIND/NAME for each")
    if len(words) == 1:
        return RunTargets(resources, ())
    return RunTargets((), tuple((resources[0], name) for name in words[1:]))


def read(cluster: Cluster, targets: RunTargets, *, ignore_missing: bool = False) -> list[Manifest]:
    """Return the objects that are named; those that are not there are left out if so asked.

    Raises:
        NotFoundError: One is not there.
    """
    found: list[Manifest] = []
    for resource, name in targets.named:
        try:
            found.append(cluster.get(job_path(resource, cluster.namespace, name)))
        except NotFoundError as error:
            if ignore_missing:
                continue
            raise NotFoundError(
                f"there is no {resource.name} {name} in namespace {cluster.namespace}"
            ) from error
    return found


def list_of(
    cluster: Cluster,
    resource: Resource,
    namespace: str | None,
    *,
    selector: str | None = None,
) -> list[Manifest]:
    """Return all objects of a resource; in all namespaces where none is given."""
    query = {"labelSelector": selector} if selector else {}
    return cluster.list(job_path(resource, namespace), query=query)[0]


def change(
    cluster: Cluster, body: Manifest, spec: Mapping[str, object], *, manager: str
) -> Manifest:
    """Change fields of a spec, if the object is still the one that was read.

    Args:
        cluster: The cluster.
        body: It, as it was read.
        spec: Fields to merge.
        manager: Field manager, which says who has set them.
    """
    metadata = body["metadata"]
    path = job_path(RESOURCES[body["kind"]], metadata["namespace"], metadata["name"])
    patch = {"metadata": {"uid": metadata["uid"]}, "spec": dict(spec)}
    return cluster.patch(path, patch, manager=manager)


def _resource(word: str) -> Resource | None:
    wanted = word.lower().removesuffix(f".{GROUP}").removesuffix(f".{VERSION}")
    return next((one for one in RESOURCES.values() if wanted in one.aliases), None)

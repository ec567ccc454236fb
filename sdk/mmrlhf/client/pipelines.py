"""Pipelines on a cluster, and the runs that are started of them by hand."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.client.paths import job_path
from mmrlhf.errors import ConflictError, MmrlhfError, NotFoundError, UsageError
from mmrlhf_api.errors import FieldError, JobFileError
from mmrlhf_api.pipelines import PIPELINE, RUN

if TYPE_CHECKING:
    from mmrlhf_api.pipelines import AlignmentPipeline

__all__ = ["find_pipeline", "list_pipelines", "start_run", "suspend_pipeline"]

# As Kubernetes draws names: neither words nor letters that are mistaken for each other.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_TRIES = 5
_MANAGER = "mmrlhfctl-cron"


def list_pipelines(cluster: Cluster, namespace: str | None) -> list[Manifest]:
    """Return the pipelines of a namespace, or of all."""
    items, _ = cluster.list(job_path(PIPELINE, namespace))
    return items


def find_pipeline(cluster: Cluster, name: str) -> Manifest:
    """Return a pipeline of the client's namespace.

    Raises:
        NotFoundError: There is none.
    """
    try:
        return cluster.get(job_path(PIPELINE, cluster.namespace, name))
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no {PIPELINE.name} {name} in namespace {cluster.namespace}"
        ) from error


def suspend_pipeline(cluster: Cluster, name: str, *, suspend: bool) -> Manifest:
    """Let a pipeline start no more runs by its schedule, or let it again.

    Raises:
        NotFoundError: There is none of that name.
    """
    path = job_path(PIPELINE, cluster.namespace, name)
    return cluster.patch(path, {"spec": {"suspend": suspend}}, manager=_MANAGER)


def start_run(
    cluster: Cluster,
    body: Manifest,
    *,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    cache: bool = True,
) -> Manifest:
    """Start a run of a pipeline now, whatever its schedule says.

    Args:
        cluster: The cluster.
        body: The pipeline, as the API server has it.
        name: Name of the run; without it, the pipeline's and some random characters.
        parameters: Values of parameters that are to have others than their defaults.
        cache: Whether results may be taken from earlier runs.

    Raises:
        UsageError: The pipeline has no such parameter, or is not valid itself.
        ConflictError: There is a run of that name.
    """
    from mmrlhf_api.pipelines import freeze

    pipeline = _parse(body)
    chosen = name or _free_name(cluster, pipeline.metadata.name)
    if name is not None and not _is_free(cluster, name):
        raise ConflictError(f"there is a run {name} already; give another name")
    try:
        run = freeze(pipeline, name=chosen, parameters=parameters, cache=cache)
    except FieldError as error:
        raise UsageError(f"{error.field}: {error.message}") from error
    run["metadata"]["annotations"] = {"mmrlhf.io/started-by": "Hand"}
    return cluster.create(job_path(RUN, cluster.namespace), run)


def _free_name(cluster: Cluster, pipeline: str) -> str:
    for _ in range(_TRIES):
        name = f"{pipeline}-m{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"
        if _is_free(cluster, name):
            return name
    raise MmrlhfError(f"found no free name of the form {pipeline}-mxxxxx")


def _is_free(cluster: Cluster, name: str) -> bool:
    try:
        cluster.get(job_path(RUN, cluster.namespace, name))
    except NotFoundError:
        return True
    return False


def _parse(body: Manifest) -> AlignmentPipeline:
    from mmrlhf_api.pipelines import AlignmentPipeline, parse_pipeline
    from mmrlhf_api.yamltree import Document

    kept = ("name", "namespace", "uid")
    metadata = {key: body["metadata"][key] for key in kept}
    plain = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": body["spec"],
    }
    try:
        found = parse_pipeline(Document(plain, {}), source=metadata["name"], in_cluster=True)
    except JobFileError as error:
        raise UsageError(
            f"pipeline {metadata['name']} is not valid, so that no run can be made of it:",
            *map(str, error.problems),
        ) from error
    assert isinstance(found, AlignmentPipeline)
    return found

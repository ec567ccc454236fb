"""Submit jobs and pipelines: server-side apply of what the user wrote."""

from __future__ import annotations

import secrets
from typing import Any

from mmrlhf.client.cluster import Cluster, Manifest
from mmrlhf.client.paths import job_path
from mmrlhf.errors import ConflictError, MmrlhfError, NotFoundError, RejectedError, UsageError
from mmrlhf_api.bounds import MAX_JOB_NAME
from mmrlhf_api.pipelines.files import Submittable
from mmrlhf_api.pipelines.resources import resource_of

__all__ = ["apply_job", "existing_job", "job_namespace", "manifest", "with_free_name"]

# Letters and digits that do not form words and are not mistaken for each other, as Kubernetes does.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_NAMES = 20


def manifest(job: Submittable, *, namespace: str) -> Manifest:
    """Return what to submit: what the user wrote, and no defaults.

    The server adds the defaults, and only fields that the user wrote are then his to fight for.

    Args:
        job: The job.
        namespace: Namespace to put it in; empty leaves it as it is.
    """
    body: Manifest = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    body.pop("status", None)
    metadata: dict[str, Any] = body["metadata"]
    for name in (
        "generateName",
        "managedFields",
        "resourceVersion",
        "uid",
        "generation",
        "selfLink",
    ):
        metadata.pop(name, None)  # of a file that came from `get -o yaml`
    metadata.pop("creationTimestamp", None)
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": body.pop("apiVersion"), "kind": body.pop("kind"), **body}


def job_namespace(job: Submittable, *, asked: str | None, default: str) -> str:
    """Return the namespace of a job: its own, or that of the client.

    Args:
        job: The job.
        asked: Namespace that the user of the client asked for by name.
        default: Namespace of the client.

    Raises:
        UsageError: The job names one and the user asked for another.
    """
    if "namespace" not in job.metadata.model_fields_set:
        return default
    if asked not in {None, job.metadata.namespace}:
        raise UsageError(
            f"{job.kind} {job.metadata.name}: the job says namespace {job.metadata.namespace}, "
            f"and the client namespace {asked}"
        )
    return job.metadata.namespace


def existing_job(cluster: Cluster, body: Manifest, job: Submittable) -> Manifest | None:
    """Return the object that a manifest would change; None when there is none."""
    metadata = body["metadata"]
    return _seek(cluster, job, metadata["namespace"], metadata["name"])


def with_free_name(cluster: Cluster, body: Manifest, job: Submittable) -> Manifest:
    """Return a manifest whose name has five random characters more and is not taken.

    Raises:
        MmrlhfError: All names that were tried are taken.
    """
    base = job.metadata.name[: MAX_JOB_NAME - _SUFFIX - 1].rstrip("-.")
    for _ in range(_NAMES):
        name = f"{base}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))}"
        if _seek(cluster, job, body["metadata"]["namespace"], name) is None:
            return {**body, "metadata": {**body["metadata"], "name": name}}
    raise MmrlhfError(f"found no free name of the form {base}-xxxxx")


def apply_job(
    cluster: Cluster,
    body: Manifest,
    job: Submittable,
    before: Manifest | None,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Manifest:
    """Submit a manifest and return the object as the server has it.

    Args:
        cluster: The cluster.
        body: What `manifest` made.
        job: The job that it was made of.
        before: What `existing_job` found.
        force: Take over fields that others have set.
        dry_run: Have the server check it, and change nothing.

    Raises:
        ConflictError: Others have set the same fields, or the job is being deleted.
        RejectedError: The server finds the job wrong.
    """
    metadata = body["metadata"]
    path = job_path(resource_of(job.kind), metadata["namespace"], metadata["name"])
    title = f"{job.kind} {metadata['namespace']}/{metadata['name']}"
    if before is not None and "deletionTimestamp" in before["metadata"]:
        raise ConflictError(f"{title} is being deleted; submit it again when it is gone")
    try:
        return cluster.apply(path, body, force=force, dry_run=dry_run)
    except (ConflictError, RejectedError) as error:
        raise type(error)(*(f"{title}: {line}" for line in error.lines)) from error


def _seek(cluster: Cluster, job: Submittable, namespace: str, name: str) -> Manifest | None:
    try:
        return cluster.get(job_path(resource_of(job.kind), namespace, name))
    except NotFoundError:
        return None

"""``submit``: validate a job file, then server-side apply."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.paths import job_path
from mmrlhf.client.views import JobView
from mmrlhf.errors import ConflictError, NotFoundError, RejectedError
from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import load_job, load_jobs
from mmrlhf_api.kinds import Job, kind_of
from mmrlhf_api.scalars import MAX_JOB_NAME
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.differences import difference
from mmrlhfctl.text.output import as_json, as_yaml, resource_name
from mmrlhfctl.validation import invalid

__all__ = ["SubmitOptions", "manifest", "submit_file"]

# Letters and digits that do not form words and are not mistaken for each other, as Kubernetes does.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """What to do with a job file.

    Attributes:
        assignments: Changes to the file, such as ``spec.training.epochs=2``.
        generate_name: Add random characters to the name.
        dry_run: client validates only, server asks the server as well; None submits.
        diff: Show what would change, and change nothing.
        force: Take over fields that others have set.
        wait: Wait for the end of the jobs.
        follow: Show the logs until the end of the job.
        seconds: How long to wait; None waits for ever.
        form: text, json, yaml or name.
    """

    assignments: Sequence[str] = ()
    generate_name: bool = False
    dry_run: str | None = None
    diff: bool = False
    force: bool = False
    wait: bool = False
    follow: bool = False
    seconds: float | None = None
    form: str = "text"


def submit_file(connection: Connection, file: str, options: SubmitOptions) -> None:
    """Submit the jobs of a file.

    Raises:
        CliError: The file is not valid, the cluster refuses, or a job that was waited for failed.
    """
    jobs = _load(file, options)
    if options.dry_run == "client" and not options.diff:
        namespace = connection.namespace or ""
        _print([manifest(job, namespace=namespace) for job in jobs], options, how="valid")
        return
    cluster = open_cluster(connection)
    bodies = [
        _named(cluster, manifest(job, namespace=_namespace(job, connection, cluster)), job, options)
        for job in jobs
    ]
    if options.diff:
        for body, job in zip(bodies, jobs, strict=True):
            _show_difference(cluster, body, job, force=options.force)
        return
    answers = [_submit(cluster, body, job, options) for body, job in zip(bodies, jobs, strict=True)]
    if options.dry_run is not None:
        return
    _watch_over(cluster, [JobView.read(answer) for answer in answers], options)


def manifest(job: Job, *, namespace: str) -> Manifest:
    """Return what to submit: what the user wrote, and no defaults.

    The server adds the defaults, and only fields that the user wrote are then his to fight for.

    Args:
        job: The job.
        namespace: Namespace to put it in; empty leaves it as it is.
    """
    body: Manifest = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    body.pop("status", None)
    metadata: dict[str, Any] = body["metadata"]
    for name in ("managedFields", "resourceVersion", "uid", "generation", "selfLink"):
        metadata.pop(name, None)  # of a file that came from `get -o yaml`
    metadata.pop("creationTimestamp", None)
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": body.pop("apiVersion"), "kind": body.pop("kind"), **body}


def _load(file: str, options: SubmitOptions) -> list[Job]:
    try:
        if options.assignments:
            jobs = [load_job(file, overrides=options.assignments, in_cluster=True)]
        else:
            jobs = load_jobs(file, in_cluster=True)
    except JobFileError as error:
        raise invalid(error) from error
    if options.follow and len(jobs) > 1:
        raise CliError(
            f"--follow takes a file with one job; {file} has {len(jobs)}", code=ExitCode.USAGE
        )
    return jobs


def _namespace(job: Job, connection: Connection, cluster: Cluster) -> str:
    if "namespace" not in job.metadata.model_fields_set:
        return cluster.namespace
    if connection.namespace not in {None, job.metadata.namespace}:
        raise CliError(
            f"{job.kind} {job.metadata.name}: the file says namespace {job.metadata.namespace}, "
            f"and --namespace {connection.namespace}",
            code=ExitCode.USAGE,
        )
    return job.metadata.namespace


def _named(cluster: Cluster, body: Manifest, job: Job, options: SubmitOptions) -> Manifest:
    if not options.generate_name:
        return body
    base = job.metadata.name[: MAX_JOB_NAME - _SUFFIX - 1].rstrip("-.")
    for _ in range(_NAMES):
        name = f"{base}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))}"
        if _existing(cluster, job, body["metadata"]["namespace"], name) is None:
            return {**body, "metadata": {**body["metadata"], "name": name}}
    raise CliError(f"found no free name of the form {base}-xxxxx")


def _existing(cluster: Cluster, job: Job, namespace: str, name: str) -> Manifest | None:
    try:
        return cluster.get(job_path(kind_of(job), namespace, name))
    except NotFoundError:
        return None


def _submit(cluster: Cluster, body: Manifest, job: Job, options: SubmitOptions) -> Manifest:
    metadata = body["metadata"]
    before = _existing(cluster, job, metadata["namespace"], metadata["name"])
    dry = options.dry_run is not None
    answer = _apply(cluster, body, job, before, force=options.force, dry_run=dry)
    if before is None:
        how = "created"
    elif difference(before, answer, name=""):
        how = "configured"
    else:
        how = "unchanged"
    _print([answer], options, how=how)
    if not dry:
        _say_what_stops(JobView.read(answer))
    return answer


def _say_what_stops(job: JobView) -> None:
    """Tell of a job that will not run although it was submitted."""
    if job.ended or job.cancelled:
        state = f"has ended ({job.phase})" if job.ended else "is being cancelled"
        note(
            f"{job.resource} {state} and does not run again; submit it with --generate-name, or "
            "delete it first"
        )
    elif job.suspended:
        note(f"{job.resource} is suspended; {program_name()} resume lets it run")


def _apply(
    cluster: Cluster,
    body: Manifest,
    job: Job,
    before: Manifest | None,
    *,
    force: bool,
    dry_run: bool,
) -> Manifest:
    metadata = body["metadata"]
    path = job_path(kind_of(job), metadata["namespace"], metadata["name"])
    title = f"{job.kind} {metadata['namespace']}/{metadata['name']}"
    if before is not None and "deletionTimestamp" in before["metadata"]:
        raise ConflictError(f"{title} is being deleted; submit it again when it is gone")
    try:
        return cluster.apply(path, body, force=force, dry_run=dry_run)
    except (ConflictError, RejectedError) as error:
        raise type(error)(*(f"{title}: {line}" for line in error.lines)) from error


def _show_difference(cluster: Cluster, body: Manifest, job: Job, *, force: bool) -> None:
    metadata = body["metadata"]
    before = _existing(cluster, job, metadata["namespace"], metadata["name"])
    after = _apply(cluster, body, job, before, force=force, dry_run=True)
    name = f"{resource_name(body)} in {metadata['namespace']}"
    text = difference(before, after, name=name, colours=colours_wanted(sys.stdout))
    if text:
        out(text)
    else:
        note(f"{name}: nothing would change")


def _print(bodies: Sequence[Manifest], options: SubmitOptions, *, how: str) -> None:
    forms: dict[str, Callable[..., str]] = {"json": as_json, "yaml": as_yaml}
    if options.form in forms:
        out(forms[options.form](bodies, single=True))
        return
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(options.dry_run or "", "")
    for body in bodies:
        name = resource_name(body)
        out(name if options.form == "name" else f"{name} {how}{suffix}")


def _watch_over(cluster: Cluster, jobs: Sequence[JobView], options: SubmitOptions) -> None:
    sys.stdout.flush()
    if options.follow:
        from mmrlhfctl.verbs.logs import Follower, LogOptions

        Follower(cluster, jobs[0], LogOptions(follow=True), seconds=options.seconds).run()
    elif options.wait:
        from mmrlhfctl.verbs.wait import wait_for_end

        wait_for_end(cluster, jobs, seconds=options.seconds)

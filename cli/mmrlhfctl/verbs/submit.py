"""``submit``: validate a job file, then submit its jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.submission import (
    apply_job,
    existing_job,
    job_namespace,
    manifest,
    with_free_name,
)
from mmrlhf.client.views import JobView
from mmrlhf_api.base import wire_dict
from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import load_job
from mmrlhf_api.kinds import KINDS
from mmrlhf_api.pipelines.files import Submittable, load_all
from mmrlhf_api.tracing import ANNOTATION_TRACEPARENT, ENV_TRACEPARENT, parse_traceparent
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.differences import difference
from mmrlhfctl.text.output import as_json, as_yaml, resource_name
from mmrlhfctl.validation import invalid

__all__ = ["SubmitOptions", "submit_file"]


@dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """What to do with a job file.

    Attributes:
        assignments: Changes to the file, such as ``spec.training.epochs=2``.
        generate_name: Add random characters to the name.
        dry_run: client validates only, server asks the server as well; None submits. Either says
            what jobs will take, where earlier runs tell.
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
        valid = [manifest(job, namespace=namespace) for job in jobs]
        _print(valid, options, how="valid")
        if options.form == "text":
            _tell_forecasts(jobs, connection, None, default=namespace or "default")
        return
    cluster = open_cluster(connection)
    bodies = [_body(cluster, connection, job, generate_name=options.generate_name) for job in jobs]
    if options.diff:
        for body, job in zip(bodies, jobs, strict=True):
            _show_difference(cluster, body, job, force=options.force)
        return
    answers = [_submit(cluster, body, job, options) for body, job in zip(bodies, jobs, strict=True)]
    if options.dry_run is not None:
        if options.form == "text":
            _tell_forecasts(jobs, connection, cluster, default=cluster.namespace)
        return
    made = [JobView.read(answer) for answer in answers if answer["kind"] in KINDS]
    if len(made) == len(answers):
        _watch_over(cluster, made, options)


def _load(file: str, options: SubmitOptions) -> list[Submittable]:
    try:
        if options.assignments:
            jobs: list[Submittable] = [
                load_job(file, overrides=options.assignments, in_cluster=True)
            ]
        else:
            jobs = load_all(file, in_cluster=True)
    except JobFileError as error:
        raise invalid(error) from error
    if options.follow and len(jobs) > 1:
        raise CliError(
            f"--follow takes a file with one job; {file} has {len(jobs)}", code=ExitCode.USAGE
        )
    if (options.follow or options.wait) and any(job.kind not in KINDS for job in jobs):
        raise CliError(
            "--wait and --follow are for jobs; of a run see `kubectl wait ar/NAME"
            " --for=condition=Reconciling=False` and status ar/NAME",
            code=ExitCode.USAGE,
        )
    return jobs


def _body(
    cluster: Cluster, connection: Connection, job: Submittable, *, generate_name: bool
) -> Manifest:
    namespace = job_namespace(job, asked=connection.namespace, default=cluster.namespace)
    body = manifest(job, namespace=namespace)
    generate_name = generate_name or job.metadata.is_unnamed
    return with_free_name(cluster, body, job) if generate_name else body


def _in_trace(body: Manifest, before: Manifest | None, environ: Mapping[str, str]) -> Manifest:
    """Note the span that a new object is submitted in; one that is there keeps its own."""
    if before is not None:
        told = (before["metadata"].get("annotations") or {}).get(ANNOTATION_TRACEPARENT)
    else:
        span = parse_traceparent(environ.get(ENV_TRACEPARENT, ""))
        told = None if span is None else span.traceparent()
    if told is None:
        return body
    metadata = body["metadata"]
    # What the file itself says goes first.
    annotations = {ANNOTATION_TRACEPARENT: told, **(metadata.get("annotations") or {})}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _submit(cluster: Cluster, body: Manifest, job: Submittable, options: SubmitOptions) -> Manifest:
    before = existing_job(cluster, body, job)
    body = _in_trace(body, before, os.environ)
    dry = options.dry_run is not None
    answer = apply_job(cluster, body, job, before, force=options.force, dry_run=dry)
    if before is None:
        how = "created"
    elif difference(before, answer, name=""):
        how = "configured"
    else:
        how = "unchanged"
    _print([answer], options, how=how)
    if not dry and answer["kind"] in KINDS:
        _say_what_stops(JobView.read(answer))
    return answer


def _tell_forecasts(
    jobs: Sequence[Submittable], connection: Connection, cluster: Cluster | None, *, default: str
) -> None:
    """Say for people what jobs will take; what programs read stays as it is."""
    from mmrlhfctl.verbs.cost import tell_forecast

    for job in jobs:
        if job.kind in KINDS:
            place = job_namespace(job, asked=connection.namespace, default=default)
            tell_forecast(wire_dict(job), cluster=cluster, namespace=place)


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


def _show_difference(cluster: Cluster, body: Manifest, job: Submittable, *, force: bool) -> None:
    before = existing_job(cluster, body, job)
    body = _in_trace(body, before, os.environ)
    after = apply_job(cluster, body, job, before, force=force, dry_run=True)
    name = f"{resource_name(body)} in {body['metadata']['namespace']}"
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
        from mmrlhfctl.verbs.log_choice import LogOptions
        from mmrlhfctl.verbs.logs import follow_logs

        follow_logs(cluster, jobs[0], LogOptions(follow=True), seconds=options.seconds)
    elif options.wait:
        from mmrlhfctl.verbs.wait import wait_for_end

        wait_for_end(cluster, jobs, seconds=options.seconds)

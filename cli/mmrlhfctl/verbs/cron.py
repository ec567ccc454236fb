"""``cron``: schedules of pipelines, and runs that are started by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.pipelines import find_pipeline, list_pipelines, start_run, suspend_pipeline
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.jobs import without_noise
from mmrlhfctl.text.output import as_json, as_yaml
from mmrlhfctl.text.schedules import schedule_headers, schedule_row
from mmrlhfctl.text.table import Table

__all__ = ["list_schedules", "set_suspended", "trigger_run"]


def list_schedules(connection: Connection, *, everywhere: bool, form: str) -> None:
    """Show pipelines and when they run.

    Args:
        connection: Which cluster.
        everywhere: List the pipelines of all namespaces.
        form: text, json or yaml.
    """
    cluster = open_cluster(connection)
    found = list_pipelines(cluster, None if everywhere else cluster.namespace)
    if form != "text":
        out((as_json if form == "json" else as_yaml)(without_noise(found), single=False))
        return
    if not found:
        where = "in any namespace" if everywhere else f"in namespace {cluster.namespace}"
        note(f"no pipelines found {where}")
        return
    now = datetime.now(UTC)
    rows = [schedule_row(body, now, namespaces=everywhere) for body in found]
    headers = schedule_headers(namespaces=everywhere)
    out("\n".join(Table(headers, colours=colours_wanted(sys.stdout)).lines(rows)))


def trigger_run(
    connection: Connection,
    pipeline: str,
    *,
    name: str | None,
    assignments: Sequence[str],
    cache: bool,
) -> None:
    """Start a run of a pipeline now.

    Args:
        connection: Which cluster.
        pipeline: Its name.
        name: Name of the run; None takes a random one.
        assignments: Values of parameters, as ``NAME=VALUE``.
        cache: Whether results may be taken from earlier runs.

    Raises:
        MmrlhfError: There is no such pipeline or parameter, or a run has the name.
    """
    parameters = dict(map(_assignment, assignments))
    cluster = open_cluster(connection)
    run = start_run(
        cluster,
        find_pipeline(cluster, pipeline),
        name=name,
        parameters=parameters,
        cache=cache,
    )
    out(f"alignmentrun.mmrlhf.io/{run['metadata']['name']} started")


def set_suspended(connection: Connection, pipelines: Sequence[str], *, suspend: bool) -> None:
    """Let pipelines start no more runs by their schedules, or let them again.

    Raises:
        MmrlhfError: There is no such pipeline.
    """
    cluster = open_cluster(connection)
    bodies = [find_pipeline(cluster, name) for name in pipelines]
    for body in bodies:
        name = body["metadata"]["name"]
        if (body["spec"].get("suspend") is True) is suspend:
            state = "suspended already" if suspend else "not suspended"
            note(f"AlignmentPipeline {cluster.namespace}/{name} is {state}")
            continue
        suspend_pipeline(cluster, name, suspend=suspend)
        out(f"alignmentpipeline.mmrlhf.io/{name} {'suspended' if suspend else 'resumed'}")


def _assignment(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not mark or not name:
        raise CliError(f"--parameter {text}: must be NAME=VALUE", code=ExitCode.USAGE)
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        read = value
    return name, read if isinstance(read, str | bool | int | float) else value

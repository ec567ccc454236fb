"""Runs of pipelines and sweeps: lists, the parts of one, and what is asked of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mmrlhf.client.choice import Choice
from mmrlhf.client.cluster import Cluster, Manifest, open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.paths import job_path
from mmrlhf.client.runs import RunTargets, change, list_of, read, run_targets
from mmrlhf_api.pipelines import PIPELINE, RESOURCES, RUN, SWEEP
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.program import program_name
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.jsonpath import parse_template
from mmrlhfctl.text.output import as_json, as_names, as_object, as_yaml, resource_name
from mmrlhfctl.text.runs import HEADERS, pipeline_lines, row, run_lines
from mmrlhfctl.text.sweeps import sweep_lines
from mmrlhfctl.text.table import Table

__all__ = [
    "chosen_runs",
    "delete_runs",
    "retry_runs",
    "set_runs",
    "show_runs",
    "tell_why_of_run",
]

_ENDS = frozenset({"Succeeded", "Failed"})


def show_runs(
    connection: Connection,
    targets: RunTargets,
    *,
    form: str,
    all_namespaces: bool,
    selector: str | None,
    detail: bool,
) -> None:
    """Show pipelines and runs, in the forms of `mmrlhfctl.verbs.get.get_jobs`.

    Raises:
        MmrlhfError: One is not there.
    """
    cluster = open_cluster(connection)
    bodies = _found(cluster, targets, everywhere=all_namespaces, selector=selector)
    now, colours = datetime.now(UTC), colours_wanted(sys.stdout)
    single = len(targets.named) == 1
    if not bodies and form in {"text", "wide", "name"}:
        note(f"no {_words(targets)} found in namespace {cluster.namespace}")
    elif form.startswith("jsonpath="):
        filled = parse_template(form.removeprefix("jsonpath="))
        out(filled.text(as_object(bodies, single=single)))
    elif form == "json":
        out(as_json(bodies, single=single))
    elif form == "yaml":
        out(as_yaml(bodies, single=single))
    elif form == "name":
        out(as_names(bodies).rstrip("\n"))
    elif detail and targets.named:
        out("\n\n".join("\n".join(_lines(body, now, colours=colours)) for body in bodies))
    else:
        rows = [row(body, now) for body in bodies]
        out("\n".join(Table(HEADERS, colours=colours).lines(rows)))


def set_runs(
    connection: Connection, targets: RunTargets, spec: Mapping[str, bool], *, word: str
) -> None:
    """Change fields of the specs of runs, such as suspend, and say so.

    Raises:
        MmrlhfError: A run is not there, or the kind has no such field.
    """
    cluster = open_cluster(connection)
    for body in _found(cluster, targets):
        _check_field(body, next(iter(spec)))
        name = resource_name(body)
        if _ended(body):
            note(f"{name} has ended already ({body['status']['phase']})")
            continue
        if all(bool((body["spec"]).get(field)) == value for field, value in spec.items()):
            note(f"{name} is {word} already")
            continue
        change(cluster, body, spec, manager=f"mmrlhfctl-{next(iter(spec))}")
        out(f"{name} {word}")


def retry_runs(connection: Connection, words: Sequence[str]) -> None:
    """Let runs go on from what has failed; steps that succeeded are kept.

    Raises:
        CliError: One has not failed, or was cancelled.
    """
    targets = run_targets(words) or RunTargets((), tuple((RUN, name) for name in words))
    cluster = open_cluster(connection)
    for body in _found(cluster, targets):
        _check_field(body, "retry")
        name, status = resource_name(body), body.get("status") or {}
        failed = [one["name"] for one in status.get("steps") or () if one["phase"] == "Failed"]
        if body["spec"].get("cancel") or not failed:
            why = "was cancelled" if body["spec"].get("cancel") else "has no step that failed"
            raise CliError(f"{name} {why}; there is nothing to retry", code=ExitCode.USAGE)
        change(cluster, body, {"retry": status.get("retried", 0) + 1}, manager="mmrlhfctl-retry")
        out(f"{name} retries {', '.join(failed)}")


def delete_runs(connection: Connection, targets: RunTargets, *, ignore_missing: bool) -> None:
    """Delete runs and sweeps with their jobs, pipelines with their runs; artifacts stay."""
    cluster = open_cluster(connection)
    for body in _found(cluster, targets, ignore_missing=ignore_missing):
        metadata = body["metadata"]
        path = job_path(RESOURCES[body["kind"]], metadata["namespace"], metadata["name"])
        cluster.delete(path, uid=metadata["uid"])
        out(f"{resource_name(body)} deleted")


def tell_why_of_run(connection: Connection, targets: RunTargets) -> None:
    """Say why a run is where it is, and which job to ask further."""
    for body in _found(open_cluster(connection), targets):
        out("\n".join(_lines(body, datetime.now(UTC), colours=colours_wanted(sys.stdout))))
        for one in (body.get("status") or {}).get("steps") or ():
            if one["phase"] in {"Running", "Failed"} and one.get("job"):
                note(f"more: {program_name()} why {one['kind']}/{one['job']}")
        for one in (body.get("status") or {}).get("points") or ():
            if one["phase"] == "Failed" and one.get("job"):
                kind = body["spec"]["template"]["kind"]
                note(f"more: {program_name()} why {kind}/{one['job']}")


def chosen_runs(choice: Choice) -> RunTargets | None:
    """Return the runs that a choice means; None where it means jobs."""
    return run_targets(choice.words) if choice.words else None


def _found(
    cluster: Cluster,
    targets: RunTargets,
    *,
    everywhere: bool = False,
    selector: str | None = None,
    ignore_missing: bool = False,
) -> list[Manifest]:
    if targets.named:
        return read(cluster, targets, ignore_missing=ignore_missing)
    namespace = None if everywhere else cluster.namespace
    return [
        body
        for resource in targets.resources
        for body in list_of(cluster, resource, namespace, selector=selector)
    ]


def _words(targets: RunTargets) -> str:
    return " or ".join(one.plural for one in targets.resources)


def _lines(body: Manifest, now: datetime, *, colours: bool) -> list[str]:
    if body["kind"] == PIPELINE.name:
        return pipeline_lines(body, colours=colours)
    if body["kind"] == SWEEP.name:
        return sweep_lines(body, now, colours=colours)
    return run_lines(body, now, colours=colours)


def _ended(body: Manifest) -> bool:
    return (body.get("status") or {}).get("phase") in _ENDS


def _check_field(body: Manifest, field: str) -> None:
    if field != "suspend" and body["kind"] == PIPELINE.name:
        raise CliError(
            f"{resource_name(body)} is a pipeline; {field} is for its runs (ar/NAME)",
            code=ExitCode.USAGE,
        )
    if field == "retry" and body["kind"] == SWEEP.name:
        raise CliError(
            f"{resource_name(body)} is a sweep, whose points run once: submit what failed as points"
            " of another sweep",
            code=ExitCode.USAGE,
        )

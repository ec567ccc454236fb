"""``lineage``: where a run, a model or an alias comes from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mmrlhf.archive.lineage import trace_alias, trace_uri
from mmrlhf.client.archived import archived_run
from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf_api.lineage import Graph, Store
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text.lineage import lineage_lines, lineage_object
from mmrlhfctl.text.output import json_text
from mmrlhfctl.verbs.page_files import write_page
from mmrlhfctl.verbs.places import as_place

__all__ = ["show_lineage"]


def show_lineage(
    connection: Connection,
    words: Sequence[str],
    *,
    alias: str | None,
    depth: int,
    check: bool,
    as_json: bool,
    page: str | None,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print where something comes from, and write the page of it if one is asked for.

    Raises:
        MmrlhfError: There is no such run or alias, or its store cannot be read.
    """
    # Without a word about the store, each record says where its own is.
    store = Store(endpoint, region) if endpoint or region else None
    graph = _walk(connection, words, alias=alias, store=store, depth=depth, check=check)
    if as_json:
        out(json_text(lineage_object(graph)))
    else:
        out("\n".join(lineage_lines(graph, colours=colours_wanted(sys.stdout))))
    if page is not None:
        # Only who wants one needs what draws pages.
        from mmrlhf_jobs.pages.lineage import render_lineage

        note(f"wrote {write_page(Path(page), render_lineage(graph))}")


def _walk(
    connection: Connection,
    words: Sequence[str],
    *,
    alias: str | None,
    store: Store | None,
    depth: int,
    check: bool,
) -> Graph:
    place = as_place(words)
    if alias is not None:
        if place is None:
            raise CliError(
                "--alias needs the folder of artifacts that holds it: a path, file:// or s3://",
                code=ExitCode.USAGE,
            )
        return trace_alias(place, alias, store=store, depth=depth, check=check)
    if place is not None:
        return trace_uri(place, store=store, depth=depth, check=check)
    (target,) = parse_job_names(words, at_most=1)
    job = find_job(open_cluster(connection), target)
    artifacts = job.spec.get("artifacts") or {}
    own = Store(artifacts.get("endpoint"), artifacts.get("region"))
    return trace_uri(archived_run(job).uri, store=store or own, depth=depth, check=check)

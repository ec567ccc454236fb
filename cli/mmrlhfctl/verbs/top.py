"""``top``: what runs and what waits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import list_jobs, parse_targets
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, note, out
from mmrlhfctl.text import top
from mmrlhfctl.text.table import Table

__all__ = ["show_top"]


def show_top(connection: Connection, words: Sequence[str], *, everywhere: bool) -> None:
    """Print what runs and what waits.

    Raises:
        CliError: Jobs are named, not kinds.
    """
    targets = parse_targets(words)
    if targets.jobs:
        raise CliError("name kinds, not jobs; status shows one job", code=ExitCode.USAGE)
    cluster = open_cluster(connection)
    namespace = None if everywhere else cluster.namespace
    jobs = top.worth_showing(list_jobs(cluster, targets.kinds, namespace))
    if not jobs:
        where = "in any namespace" if everywhere else f"in namespace {cluster.namespace}"
        note(f"no job runs or waits {where}")
        return
    now = datetime.now(UTC)
    headers = [*(["NAMESPACE"] if everywhere else []), *top.HEADERS]
    table = Table(headers, colours=colours_wanted(sys.stdout))
    out("\n".join(table.lines([top.row(job, now, namespace=everywhere) for job in jobs])))
    note(top.totals(jobs))

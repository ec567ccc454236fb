"""What ``diff`` and ``clone`` are about: a job, a run of a pipeline, a pipeline, or a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.client.archived import archived_run
from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.client.runs import read, run_targets
from mmrlhf.errors import MmrlhfError, NotFoundError
from mmrlhfctl.terminal import note
from mmrlhfctl.verbs.places import as_place

__all__ = ["Subject", "read_subject"]


@dataclass(frozen=True)
class Subject:
    """What a word names.

    Attributes:
        name: The word, or what it was found as.
        body: The object, or the job of the record.
        record: The record of its run; None where it has left none that can be read.
    """

    name: str
    body: Mapping[str, Any]
    record: Mapping[str, Any] | None = None


def read_subject(
    connection: Connection,
    word: str,
    *,
    endpoint: str | None,
    region: str | None,
    with_record: bool,
) -> Subject:
    """Read what a word names: NAME, KIND/NAME, ar/NAME, ap/NAME, a path or a URI.

    Args:
        connection: Which cluster.
        word: The word.
        endpoint: Where the object store of a URI is.
        region: Its region.
        with_record: Whether the record of a job is wanted, if it has left one.

    Raises:
        MmrlhfError: There is nothing of that name.
    """
    if (place := as_place([word])) is not None:
        record = ArchivedRun(place, endpoint=endpoint, region=region).manifest()
        job = record.get("job")
        if not isinstance(job, Mapping) or "spec" not in job or "metadata" not in job:
            raise MmrlhfError(f"{word}: its record holds no job")
        return Subject(word, job, record)
    cluster = open_cluster(connection)
    if (runs := run_targets([word])) is not None and runs.named:
        return Subject(word, read(cluster, runs)[0])
    (target,) = parse_job_names([word], at_most=1)
    found = find_job(cluster, target)
    if not with_record or not found.ended:
        return Subject(word, found.body)
    try:
        return Subject(word, found.body, archived_run(found).manifest())
    except NotFoundError:
        return Subject(word, found.body)
    except MmrlhfError as error:
        note(f"{word}: its inputs are not compared: {error}")
        return Subject(word, found.body)

"""What a job reads, by digest, when an attempt begins."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mmrlhf_api import Job
from mmrlhf_api.contents import find_contents
from mmrlhf_api.kinds import Input, kind_of
from mmrlhf_api.origins import Origin, make_lineage
from mmrlhf_jobs.storage.marks import keep, renew
from mmrlhf_jobs.storage.uris import StorageOptions, locate

__all__ = ["keep_inputs", "read_uris", "take_lineage"]


def read_uris(job: Job) -> list[str]:
    """What a job reads, as its attempts say it when they begin."""
    return [one.uri for one in kind_of(job).inputs(job.spec)]


def keep_inputs(job: Job, *, run: str, now: datetime, options: StorageOptions | None) -> None:
    """Take away the marks that what a job reads, or the job's own run, is to be removed.

    It comes after the attempt has said what it reads: see `mmrlhf_jobs.storage.marks`.

    Args:
        job: The job.
        run: URI of its run.
        now: The time.
        options: How to reach an object store.

    Raises:
        InputError: One of them is being removed, or is gone.
        StorageError: The store fails.
    """
    by = f"{job.kind} {job.metadata.namespace}/{job.metadata.name}"
    renew(run, options, by=by, now=now)
    for uri in read_uris(job):
        keep(uri, options, by=by, now=now)


def take_lineage(
    job: Job, *, attempt: int, options: StorageOptions | None = None
) -> dict[str, Any]:
    """Look at all that a job names as its inputs, and say what each holds.

    It is for the record alone and fails nothing: what cannot be looked at is said in ``why``, and
    whoever reads the input says what is wrong with it.

    Args:
        job: The job.
        attempt: Attempt of the operator, from 0.
        options: How to reach an object store.
    """
    inputs = kind_of(job).inputs(job.spec)
    return make_lineage([_look(one, options) for one in inputs], attempt=attempt)


def _look(one: Input, options: StorageOptions | None) -> Origin:
    origin = Origin(one.field, one.uri, one.content)
    try:
        place = locate(one.uri, options)
        found = find_contents(place.fs, place.path, deep=one.content == "model")
    except Exception as error:  # noqa: BLE001 - of any file system
        return Origin(one.field, one.uri, one.content, why=str(error) or type(error).__name__)
    if found is None:
        return Origin(one.field, one.uri, one.content, why="nothing is there")
    run = None
    if found.run is not None:
        run = found.run if place.is_local else str(place.fs.unstrip_protocol(found.run))
    return Origin(
        origin.field,
        origin.uri,
        origin.content,
        found.digest,
        found.by,
        found.files,
        found.bytes,
        run,
    )

"""Attempts of a run as run events of OpenLineage 2-0-2, from the record that the run keeps.

https://openlineage.io/docs/spec/object-model: a run of OpenLineage is an attempt of ours, its job
is the job, or the step of a pipeline, and data sets are what the job's fields name and what it
leaves. Pure functions; facets are those of the standard alone.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from mmrlhf_api import Job, kind_of, spec_digest
from mmrlhf_api.base import wire_dict
from mmrlhf_api.constants import GROUP
from mmrlhf_api.credentials import hide_passwords
from mmrlhf_api.origins import Origin, read_lineage
from mmrlhf_api.pipelines.names import LABEL_PIPELINE, LABEL_STEP
from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.marker import MARKER

__all__ = ["Attempt", "Parent", "dataset_name", "end_event", "run_id", "start_event"]

_SPEC: Final = "https://openlineage.io/spec"
_RUN_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSIONS: Final = {
    "DatasetVersionDatasetFacet": "1-0-1",
    "ErrorMessageRunFacet": "1-0-1",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "JobTypeJobFacet": "2-0-4",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "TagsDatasetFacet": "1-0-0",
    "TagsRunFacet": "1-0-0",
}
"""The version of each facet's schema that is written here."""
_SOURCE: Final = "MMRLHF"
_LONGEST: Final = 4096
"""Most characters of a message."""


@dataclass(frozen=True)
class Parent:
    """The run that an attempt is part of, such as that of a pipeline.

    Attributes:
        namespace: Namespace of its job.
        name: Its job.
        run_id: Its UUID.
    """

    namespace: str
    name: str
    run_id: str


@dataclass(frozen=True)
class Attempt:
    """What events say of an attempt.

    Attributes:
        job: The job.
        namespace: Namespace of OpenLineage that its name is unique in.
        run: URI of the run's folder.
        record: The attempt in ``attempts.json``.
        lineage: What it reads by digest, as `mmrlhf_api.origins` has it.
        environment: Versions and image, as the record of a run has them.
        parent: What it is part of.
    """

    job: Job
    namespace: str
    run: str
    record: Mapping[str, Any]
    lineage: Mapping[str, Any]
    environment: Mapping[str, Any]
    parent: Parent | None = None


def run_id(run: str, record: Mapping[str, Any]) -> str:
    """The UUID of an attempt: the same for whoever knows the run and its ``attempts.json``.

    Args:
        run: URI of the run's folder.
        record: The attempt there.
    """
    name = f"{run}#{record.get('attempt')}@{record.get('startedAt')}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name of a data set, by OpenLineage's naming of stores and files.

    https://openlineage.io/docs/spec/naming: ``s3://bucket`` and the key; ``file`` and the path.
    """
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        path = parts.path if parts.scheme else uri
        return "file", posixpath.normpath(str(Path(path).absolute()))
    address = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{address}", parts.path.strip("/") or "/"


def start_event(attempt: Attempt) -> dict[str, Any]:
    """The event that an attempt has begun, with its inputs."""
    return _event("START", attempt, str(attempt.record["startedAt"]), outputs=())


def end_event(
    attempt: Attempt,
    kind: Literal["COMPLETE", "FAIL", "ABORT"],
    *,
    time: str,
    message: str | None = None,
    left: Mapping[str, FileEntry] | None = None,
) -> dict[str, Any]:
    """The event that an attempt has ended.

    Args:
        attempt: The attempt.
        kind: COMPLETE with all results in place, FAIL by an error, ABORT if it was stopped, killed
            or taken over.
        time: When, in ISO 8601.
        message: Why it has failed.
        left: Files that a complete run has left, by path below its folder.
    """
    event = _event(kind, attempt, time, outputs=list(_outputs(attempt, left or {})))
    if message is not None:
        text = make_safe(hide_passwords(message), lines=True)[:_LONGEST]
        said = _facet("ErrorMessageRunFacet", attempt, message=text, programmingLanguage="PYTHON")
        event["run"]["facets"]["errorMessage"] = said
    return event


def _event(
    kind: str, attempt: Attempt, time: str, *, outputs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": time,
        "producer": _producer(attempt),
        "schemaURL": _RUN_EVENT,
        "run": {"runId": run_id(attempt.run, attempt.record), "facets": _run_facets(attempt)},
        "job": {
            "namespace": attempt.namespace,
            "name": _job_name(attempt.job),
            "facets": {"jobType": _job_type(attempt)},
        },
        "inputs": list(_inputs(attempt)),
        "outputs": list(outputs),
    }


def _job_name(job: Job) -> str:
    """The job, or the step of its pipeline: the same for each of its runs."""
    labels = job.metadata.labels
    named = [labels[key] for key in (LABEL_PIPELINE, LABEL_STEP) if labels.get(key)]
    return ".".join([job.metadata.namespace, *(named if len(named) == 2 else [job.metadata.name])])


def _job_type(attempt: Attempt) -> dict[str, Any]:
    kind = kind_of(attempt.job)
    spec = wire_dict(attempt.job.spec)
    words = [column.read(spec) for column in kind.spec_columns]
    return _facet(
        "JobTypeJobFacet",
        attempt,
        processingType="BATCH",
        integration=_SOURCE,
        jobType="/".join([kind.name, *filter(None, words)]),
    )


def _run_facets(attempt: Attempt) -> dict[str, Any]:
    facts = {
        "uid": attempt.job.metadata.uid,
        "attempt": attempt.record.get("attempt"),
        "processes": attempt.record.get("processes"),
        "specDigest": spec_digest(attempt.job),
        "image": attempt.environment.get("image"),
        "python": attempt.environment.get("python"),
        **_packages(attempt),
    }
    facets = {
        "processing_engine": _facet(
            "ProcessingEngineRunFacet",
            attempt,
            version=_packages(attempt).get("mmrlhf") or "unknown",
            name="mmrlhf",
        ),
        "tags": _tags("TagsRunFacet", attempt, [(key, facts[key]) for key in facts]),
    }
    if attempt.parent is not None:
        facets["parent"] = _facet(
            "ParentRunFacet",
            attempt,
            run={"runId": attempt.parent.run_id},
            job={"namespace": attempt.parent.namespace, "name": attempt.parent.name},
        )
    return facets


def _inputs(attempt: Attempt) -> Iterator[dict[str, Any]]:
    """What the attempt reads, a data set once however many fields name it."""
    found: dict[tuple[str, str], list[Origin]] = {}
    for origin in read_lineage({"lineage": attempt.lineage}) or ():
        found.setdefault(dataset_name(origin.uri), []).append(origin)
    for (namespace, name), origins in found.items():
        first = origins[0]
        tags: list[tuple[str, object]] = [("field", one.field) for one in origins]
        tags += [("content", first.content), ("digestBy", first.by), ("run", first.run)]
        yield {
            "namespace": namespace,
            "name": name,
            "facets": {
                **_version(first.digest, attempt),
                "tags": _tags("TagsDatasetFacet", attempt, tags),
            },
            "inputFacets": {}
            if first.digest is None
            else {
                "inputStatistics": _facet(
                    "InputStatisticsInputDatasetFacet",
                    attempt,
                    size=first.bytes,
                    fileCount=first.files,
                )
            },
        }


def _outputs(attempt: Attempt, left: Mapping[str, FileEntry]) -> Iterator[dict[str, Any]]:
    """What a complete run has left for others: of a folder, the digest is that of its marker."""
    for output in kind_of(attempt.job).outputs(attempt.job.spec):
        inside = {
            path: one
            for path, one in left.items()
            if path == output.path or path.startswith(f"{output.path}/")
        }
        if not inside:
            continue
        namespace, name = dataset_name(f"{attempt.run}/{output.path}")
        digest = inside.get(output.path) or inside.get(f"{output.path}/{MARKER}")
        files = [one.size for path, one in inside.items() if not path.endswith(f"/{MARKER}")]
        tags = [("output", output.name), ("content", output.content)]
        yield {
            "namespace": namespace,
            "name": name,
            "facets": {
                **_version(None if digest is None else digest.sha256, attempt),
                "tags": _tags("TagsDatasetFacet", attempt, tags),
            },
            "outputFacets": {
                "outputStatistics": _facet(
                    "OutputStatisticsOutputDatasetFacet",
                    attempt,
                    size=sum(files),
                    fileCount=len(files),
                )
            },
        }


def _version(digest: str | None, attempt: Attempt) -> dict[str, Any]:
    if digest is None:
        return {}
    return {"version": _facet("DatasetVersionDatasetFacet", attempt, datasetVersion=digest)}


def _tags(name: str, attempt: Attempt, pairs: Sequence[tuple[str, object]]) -> dict[str, Any]:
    tags = [
        {"key": key, "value": str(value), "source": _SOURCE}
        for key, value in pairs
        if value is not None
    ]
    return _facet(name, attempt, tags=tags)


def _facet(facet: str, attempt: Attempt, **fields: object) -> dict[str, Any]:
    schema = f"{_SPEC}/facets/{_VERSIONS[facet]}/{facet}.json#/$defs/{facet}"
    return {"_producer": _producer(attempt), "_schemaURL": schema, **fields}


def _packages(attempt: Attempt) -> Mapping[str, Any]:
    packages = attempt.environment.get("packages")
    return packages if isinstance(packages, Mapping) else {}


def _producer(attempt: Attempt) -> str:
    """Who says so; a URI, by the standard."""
    return f"https://{GROUP}/mmrlhf/{_packages(attempt).get('mmrlhf') or 'unknown'}"

"""Files that hold a pipeline, a run or a sweep."""

from __future__ import annotations

from pathlib import Path

from mmrlhf_api.errors import JobFileError, Problem
from mmrlhf_api.job import Job
from mmrlhf_api.jobfile import (
    load_documents,
    named_by_prefix,
    parse_job,
    parse_object,
    refusal,
)
from mmrlhf_api.pipelines.registry import RESOURCES
from mmrlhf_api.pipelines.types import AlignmentPipeline, AlignmentRun
from mmrlhf_api.pipelines.validation import problems
from mmrlhf_api.sweeps.types import Sweep
from mmrlhf_api.sweeps.validation import sweep_problems
from mmrlhf_api.yamltree import Document

__all__ = ["Flow", "Submittable", "is_pipeline", "load_all", "parse_pipeline"]

Flow = AlignmentPipeline | AlignmentRun | Sweep
"""What makes jobs, or what makes them."""

Submittable = Job | Flow
"""What files for a cluster hold."""


def load_all(source: str | Path, *, in_cluster: bool = False) -> list[Submittable]:
    """Read all jobs, pipelines, runs and sweeps of a file; see `mmrlhf_api.jobfile.load_jobs`.

    Raises:
        JobFileError: The file cannot be read or one is not valid; lists every problem of all.
    """
    documents, name = load_documents(source)
    found: list[Submittable] = []
    wrong: list[Problem] = []
    for document in documents:
        parse = parse_pipeline if is_pipeline(document) else parse_job
        try:
            found.append(parse(document, source=name, in_cluster=in_cluster))
        except JobFileError as error:
            wrong.extend(error.problems)
    if wrong:
        raise JobFileError(name, wrong)
    return found


def is_pipeline(document: Document) -> bool:
    """Whether a document is to be a pipeline, a run or a sweep, valid or not."""
    return isinstance(document.data, dict) and document.data.get("kind") in RESOURCES


def parse_pipeline(document: Document, *, source: str, in_cluster: bool = False) -> Flow:
    """Return the pipeline, run or sweep that a document describes.

    Args:
        document: One of which `is_pipeline` is true.
        source: Name of the document in messages.
        in_cluster: Whether it is for a cluster, where relative paths lead nowhere.

    Raises:
        JobFileError: It is not valid; lists every problem with its line.
    """
    model = RESOURCES[document.data["kind"]].model
    named = Document(named_by_prefix(document.data), document.lines)
    body = parse_object(model, named, source=source, in_cluster=in_cluster)
    assert isinstance(body, Flow)
    found = (
        sweep_problems(body, in_cluster=in_cluster)
        if isinstance(body, Sweep)
        else problems(body, in_cluster=in_cluster)
    )
    if found:
        raise refusal(source, found, document)
    return body

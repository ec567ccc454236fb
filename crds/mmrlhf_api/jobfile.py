"""Read job files: every problem at once, each with its place, and never a traceback."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mmrlhf_api.complaints import complaints
from mmrlhf_api.constants import API_VERSION
from mmrlhf_api.errors import JobFileError, Problem, UnknownKindError
from mmrlhf_api.kinds import KINDS, Job, find_kind
from mmrlhf_api.metadata import name_of_prefix
from mmrlhf_api.overrides import Override, apply_override
from mmrlhf_api.rules import ACCEPTED
from mmrlhf_api.sizes import size_problem, spec_size
from mmrlhf_api.uris import IN_CLUSTER
from mmrlhf_api.yamltree import MAX_BYTES, Document, FieldPath, ParseError, parse_documents

__all__ = [
    "load_document",
    "load_documents",
    "load_job",
    "load_jobs",
    "named_by_prefix",
    "override",
    "parse_job",
    "parse_object",
    "read_text",
    "refusal",
]

M = TypeVar("M", bound=BaseModel)


def load_job(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    in_cluster: bool = False,
    accepted: bool = False,
) -> Job:
    """Read the one job of a file.

    Args:
        source: Path of a YAML or JSON file, ``-`` for standard input, or the text itself when it
            has more than one line or starts with ``{``.
        overrides: Assignments such as ``spec.training.epochs=2``, applied before validation; the
            value is YAML.
        in_cluster: Whether the job is for a cluster, where relative paths lead nowhere.
        accepted: Whether the job was accepted before, maybe by an older version: rules that only
            new jobs must keep are left out.

    Raises:
        JobFileError: The file cannot be read or is not one valid job; lists every problem.
    """
    document, name = load_document(source)
    return parse_job(
        document, source=name, overrides=overrides, in_cluster=in_cluster, accepted=accepted
    )


def load_document(source: str | Path) -> tuple[Document, str]:
    """Return the one document of a source and its name for messages; see `load_job`.

    Raises:
        JobFileError: It cannot be read, is not well-formed, or holds no document or several.
    """
    documents, name = load_documents(source)
    if len(documents) > 1:
        message = f"holds {len(documents)} documents; give one job a file"
        raise JobFileError(name, [Problem(field="", message=message)])
    return documents[0], name


def load_documents(source: str | Path) -> tuple[list[Document], str]:
    """Return the documents of a source, and its name for messages; see `load_job`.

    Raises:
        JobFileError: It cannot be read, is not well-formed, or holds none.
    """
    text, name = read_text(source)
    return _parse(text, name), name


def load_jobs(source: str | Path, *, in_cluster: bool = False) -> list[Job]:
    """Read all jobs of a file with one document or several, or a List; see `load_job`.

    Raises:
        JobFileError: The file cannot be read or a job is not valid; lists every problem of all.
    """
    documents, name = load_documents(source)
    jobs: list[Job] = []
    problems: list[Problem] = []
    for document in documents:
        try:
            jobs.append(parse_job(document, source=name, in_cluster=in_cluster))
        except JobFileError as error:
            problems.extend(error.problems)
    if problems:
        raise JobFileError(name, problems)
    return jobs


def parse_job(
    document: Document | Mapping[str, Any],
    *,
    source: str,
    overrides: Sequence[str] = (),
    in_cluster: bool = False,
    accepted: bool = False,
) -> Job:
    """Return the job that a document describes.

    Args:
        document: Parsed document, or plain data such as an object from the API server.
        source: Name of the document in messages.
        overrides: See `load_job`.
        in_cluster: See `load_job`.
        accepted: See `load_job`.

    Raises:
        JobFileError: The document is not a valid job, or too large for a cluster; lists every
            problem.
    """
    if not isinstance(document, Document):
        document = Document(document, {})
    # Nothing but an override writes to it.
    data = copy.deepcopy(document.data) if overrides else document.data
    if not isinstance(data, dict):
        message = "must be a job: a mapping with apiVersion, kind, metadata and spec"
        raise JobFileError(source, [Problem(field="", message=message, line=1)])
    origins = override(data, overrides, source)
    data = named_by_prefix(data)
    problems = _check_envelope(data)
    if in_cluster and not problems:
        problems = _check_size(data)
    if problems:
        raise _refusal(source, problems, document.lines, origins)
    model = KINDS[data["kind"]].model
    return _validate(
        model,
        data,
        source=source,
        lines=document.lines,
        origins=origins,
        context={IN_CLUSTER: in_cluster, ACCEPTED: accepted},
    )


def parse_object(model: type[M], document: Document, *, source: str, in_cluster: bool = False) -> M:
    """Return the object of a type that a document describes, which is no job.

    Args:
        model: The type.
        document: Parsed document.
        source: Name of the document in messages.
        in_cluster: See `load_job`.

    Raises:
        JobFileError: The document is not valid; lists every problem.
    """
    return _validate(
        model,
        document.data,
        source=source,
        lines=document.lines,
        origins=(),
        context={IN_CLUSTER: in_cluster},
    )


def refusal(
    source: str, problems: Sequence[tuple[FieldPath, Problem]], document: Document
) -> JobFileError:
    """Return the error that tells problems with the lines of their fields."""
    return _refusal(source, problems, document.lines, ())


def read_text(source: str | Path) -> tuple[str, str]:
    """Return the text of a source and its name for messages; see `load_job`.

    Raises:
        JobFileError: The file cannot be read.
    """
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return source, "<text>"
    name = "<stdin>" if str(source) == "-" else str(source)
    try:
        if name == "<stdin>":
            raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        return raw.decode("utf-8-sig"), name
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        raise JobFileError(name, [Problem(field="", message=message)]) from error
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise JobFileError(name, [Problem(field="", message=message)]) from error
    except ValueError as error:  # a NUL in the path
        raise JobFileError(name, [Problem(field="", message=f"cannot be read: {error}")]) from error


def _validate(
    model: type[M],
    data: Any,  # noqa: ANN401 - whatever the document holds
    *,
    source: str,
    lines: Mapping[FieldPath, int],
    origins: Sequence[Override],
    context: Mapping[str, bool] | None = None,
) -> M:
    try:
        # The wire has camelCase only, as on the API server.
        found = model.model_validate(data, by_alias=True, by_name=False, context=context)
        problems = complaints(model, data, None)
    except ValidationError as error:
        problems = complaints(model, data, error)
    else:
        if not problems:
            return found
    raise _refusal(source, problems, lines, origins)


def _refusal(
    source: str,
    problems: Sequence[tuple[FieldPath, Problem]],
    lines: Mapping[FieldPath, int],
    origins: Sequence[Override],
) -> JobFileError:
    placed = [_place(problem, path, lines, origins) for path, problem in problems]
    placed.sort(key=lambda problem: (problem.line is None, problem.line or 0))
    return JobFileError(source, placed)


def _parse(text: str, name: str) -> list[Document]:
    try:
        documents = [item for one in parse_documents(text) for item in _items(one)]
    except ParseError as error:
        raise JobFileError(name, error.problems) from error
    if not documents:
        raise JobFileError(name, [Problem(field="", message="is empty; expected one job")])
    return documents


def override(data: dict[str, Any], overrides: Sequence[str], source: str) -> list[Override]:
    """Apply assignments to a document in place, and return them.

    Raises:
        JobFileError: One is none, or does not fit the document.
    """
    applied: list[Override] = []
    problems: list[Problem] = []
    for text in overrides:
        try:
            override = Override.parse(text)
            apply_override(data, override)
        except ValueError as error:
            problems.append(Problem(field="", message=str(error), origin=f"--set {text}"))
        else:
            applied.append(override)
    if problems:
        raise JobFileError(source, problems)
    return applied


def named_by_prefix(data: dict[str, Any]) -> dict[str, Any]:
    """Return an object that has a ``generateName`` alone with the prefix as its name."""
    metadata = data.get("metadata")
    if not isinstance(metadata, dict) or "name" in metadata:
        return data
    prefix = metadata.get("generateName")
    if isinstance(prefix, str) and name_of_prefix(prefix):
        return {**data, "metadata": metadata | {"name": name_of_prefix(prefix)}}
    return data


def _items(document: Document) -> list[Document]:
    """Return what a List holds, as `kubectl get -o yaml` writes it; all else as it is."""
    data = document.data
    if not isinstance(data, dict) or (data.get("apiVersion"), data.get("kind")) != ("v1", "List"):
        return [document]
    items = data.get("items")
    if not isinstance(items, list):
        return [document]
    return [
        Document(
            item,
            {path[2:]: line for path, line in document.lines.items() if path[:2] == ("items", n)},
        )
        for n, item in enumerate(items)
    ]


def _check_envelope(data: Mapping[str, Any]) -> list[tuple[FieldPath, Problem]]:
    """Check apiVersion and kind, without which nothing else can be judged."""
    problems: list[tuple[FieldPath, Problem]] = []
    version = data.get("apiVersion")
    if version is None:
        problems.append(
            (
                ("apiVersion",),
                Problem(field="apiVersion", message=f"is missing; must be {API_VERSION}"),
            )
        )
    elif version != API_VERSION:
        problems.append(
            (
                ("apiVersion",),
                Problem(
                    field="apiVersion",
                    message=f"must be {API_VERSION}",
                    given=json.dumps(version, default=str),
                ),
            )
        )
    kind = data.get("kind")
    allowed = f"must be one of {', '.join(KINDS)}"
    if kind is None:
        problems.append((("kind",), Problem(field="kind", message=f"is missing; {allowed}")))
    elif not isinstance(kind, str) or kind not in KINDS:
        hint = ""
        try:
            hint = f"; did you mean {find_kind(str(kind)).name}?"
        except UnknownKindError as error:
            if error.suggestion:
                hint = f"; did you mean {error.suggestion}?"
        problems.append(
            (
                ("kind",),
                Problem(field="kind", message=allowed + hint, given=json.dumps(kind, default=str)),
            )
        )
    return problems


def _check_size(data: Mapping[str, Any]) -> list[tuple[FieldPath, Problem]]:
    """Check a spec as a whole, before its parts are looked at."""
    found = size_problem(spec_size(data.get("spec")))
    return [] if found is None else [(("spec",), Problem(field="spec", message=found))]


def _place(
    problem: Problem,
    path: FieldPath,
    lines: Mapping[FieldPath, int],
    overrides: Sequence[Override],
) -> Problem:
    """Add the line of the nearest field that the document has, or the override that set it."""
    for override in overrides:
        if path[: len(override.path)] == override.path:
            return Problem(
                field=problem.field,
                message=problem.message,
                given=problem.given,
                origin=f"--set {override.text}",
            )
    if not path and not problem.field:
        return problem  # about the file, or a count of others
    line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), None)
    return Problem(field=problem.field, message=problem.message, given=problem.given, line=line)

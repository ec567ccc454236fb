"""Turn what pydantic finds wrong into words for users."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mmrlhf_api.credentials import hide_passwords
from mmrlhf_api.errors import MAX_PROBLEMS, FieldError, Problem, more_problems
from mmrlhf_api.metadata import ObjectMeta
from mmrlhf_api.yamltree import FieldPath, format_path

__all__ = ["complaints"]

_MAX_SHOWN = 80

_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is required",
    "greater_than": lambda c: f"must be above {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "less_than": lambda c: f"must be below {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "finite_number": lambda _: "must be a finite number",
    "int_type": lambda _: "must be an integer",
    "int_from_float": lambda _: "must be an integer",
    "float_type": lambda _: "must be a number",
    "string_type": lambda _: "must be a string; put it in quotes if it looks like something else",
    "bool_type": lambda _: "must be true or false",
    "literal_error": lambda c: f"must be one of {c['expected'].replace(chr(39), '')}",
    "enum": lambda c: f"must be one of {c['expected'].replace(chr(39), '')}",
    "dict_type": lambda _: "must be a mapping",
    "model_type": lambda _: "must be a mapping",
    "model_attributes_type": lambda _: "must be a mapping",
    "tuple_type": lambda _: "must be a list",
    "list_type": lambda _: "must be a list",
    "string_too_short": lambda c: (
        "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} characters"
    ),
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "too_short": lambda c: f"needs at least {c['min_length']} entries",
    "too_long": lambda c: f"must have at most {c['max_length']} entries",
}


def complaints(
    model: type[BaseModel], data: Mapping[str, Any], error: ValidationError | None
) -> list[tuple[FieldPath, Problem]]:
    """Return every problem of a document with the path of its field.

    Of very many the first `MAX_PROBLEMS` are told, and one entry counts the others: to look for
    what was meant costs far more than to find what is unknown.

    Args:
        model: Type that the document was validated as.
        data: The document.
        error: What pydantic found; None when it found nothing.
    """
    entries = [] if error is None else error.errors(include_url=False)
    unknown = _unknown_metadata(data)
    found = [_complaint(model, entry) for entry in entries[:MAX_PROBLEMS]]
    found += map(_metadata_complaint, unknown[: MAX_PROBLEMS - len(found)])
    left = len(entries) + len(unknown) - len(found)
    return [*found, ((), more_problems(left))] if left else found


def _unknown_metadata(data: Mapping[str, Any]) -> list[str]:
    # ObjectMeta ignores what it does not know, for the sake of newer servers; a person who writes
    # `lables` still wants to hear of it.
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        return []
    known = set(_wire_names(ObjectMeta))
    return [str(key) for key in metadata if key not in known]


def _metadata_complaint(key: str) -> tuple[FieldPath, Problem]:
    path = ("metadata", key)
    message = _unknown(key, _wire_names(ObjectMeta))
    return path, Problem(field=format_path(path), message=message)


def _complaint(model: type[BaseModel], entry: ErrorDetails) -> tuple[FieldPath, Problem]:
    path = tuple(part for part in entry["loc"] if part != "[key]")
    context = entry.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, FieldError):
        path = (*path, *_split(cause.field))
        return path, Problem(field=format_path(path), message=cause.message)
    if entry["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        known = _wire_names(owner) if owner is not None else []
        return path, Problem(field=format_path(path), message=_unknown(str(path[-1]), known))
    if entry["type"] == "value_error":
        message = str(cause)
    elif entry["type"] in _WORDS:
        message = _WORDS[entry["type"]](context)
    else:
        message = entry["msg"]
    secret = "env" in path and path[-1:] == ("value",)
    given = None if secret or entry["type"] == "missing" else _show(entry["input"])
    return path, Problem(field=format_path(path), message=message, given=given)


def _show(value: object) -> str | None:
    if isinstance(value, dict | list | tuple):
        return None  # long, and may hold what should not be printed
    text = hide_passwords(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def _unknown(name: str, known: list[str]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    plain = name.lower().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(plain, list(by_lower), n=1, cutoff=0.6)
    if close:
        return f"unknown field; did you mean {by_lower[close[0]]}?"
    return f"unknown field; known here: {', '.join(known)}" if known else "unknown field"


def _wire_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _split(field: str) -> FieldPath:
    parts: list[str | int] = []
    for piece in filter(None, field.replace("]", "").split(".")):
        name, *indices = piece.split("[")
        if name:
            parts.append(name)
        parts.extend(int(index) for index in indices)
    return tuple(parts)


def _model_at(model: type[BaseModel], path: FieldPath) -> type[BaseModel] | None:
    """Return the model that describes the mapping at ``path``."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue  # the list's field already led to the model of its entries
        if current is None:
            return None
        current = next(
            (
                _model_in(field.annotation)
                for name, field in current.model_fields.items()
                if part in {name, field.alias}
            ),
            None,
        )
    return current


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None

"""From a raw row to a record, with errors that name file, row and field."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError

__all__ = ["RawRow", "explain", "fields_of", "parse_row"]

RawRow: TypeAlias = bytes | Mapping[str, Any]
"""A line of JSON, or a row of Parquet as a dictionary without nulls."""

_SHOWN_PROBLEMS: Final = 3
_FIELD_CHARACTERS: Final = 80
_REASON_CHARACTERS: Final = 160


def parse_row(raw: RawRow, *, file: str, row: int) -> RankedResponse:
    """Parse one row.

    Args:
        raw: The row.
        file: File that it is in.
        row: Its 1-based number in that file.

    Raises:
        DataError: It is no valid record; the field is that of the first problem, and the message
            names up to two more.
    """
    fields = fields_of(raw, file=file, row=row)
    try:
        record = RankedResponse.model_validate(fields)
    except ValidationError as error:
        field, reason = explain(error)
        raise DataError(reason, file=file, row=row, field=field or None) from None
    return record.at(file, row)


def fields_of(raw: RawRow, *, file: str, row: int) -> Mapping[str, Any]:
    """The fields of a row, whatever its format.

    Raises:
        DataError: A line is no JSON object; see :func:`mmrlhf_jobs.data.json_rows.parse_object`.
    """
    if not isinstance(raw, bytes):
        return raw
    try:
        return parse_object(raw)
    except UnreadableRowError as error:
        raise DataError(str(error), file=file, row=row) from None


def explain(error: ValidationError) -> tuple[str, str]:
    """Field path of the first problem, and a reason that names up to two more."""
    problems = [_explain(details) for details in error.errors(include_url=False)]
    field, reason = problems[0]
    more = [f"{where or 'row'}: {why}" for where, why in problems[1:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        more.append(f"{len(problems) - _SHOWN_PROBLEMS} more problems")
    return _clipped(field, _FIELD_CHARACTERS), "; also ".join(
        _clipped(one, _REASON_CHARACTERS) for one in [reason, *more]
    )


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _explain(details: ErrorDetails) -> tuple[str, str]:
    """Field path and reason of one problem that pydantic found."""
    context = details.get("ctx", {})
    field = _path(details["loc"])
    reason = f"{details['msg']}, got {_short(details['input'])}"
    match details["type"]:
        case "invariant":
            field = f"{field}.{context['field']}".strip(".")
            reason = str(context["reason"])
        case "missing":
            reason = "is missing"
        case "extra_forbidden":
            reason = "unknown field; remove it or correct its name"
        case "json_invalid":
            reason = f"not valid JSON: {context['error']}"
        case "string_pattern_mismatch" if context["pattern"] == r"\S":
            reason = "must not be empty"
        case "string_pattern_mismatch":
            reason = f"must match {context['pattern']}, got {_short(details['input'])}"
        case "too_short":
            reason = f"needs at least {context['min_length']} items"
        case "too_long":
            reason = f"may have at most {context['max_length']} items"
    return field, reason


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _short(value: object) -> str:
    # Not the whole of it first: a row may hold megabytes.
    return _clipped(reprlib.repr(value) if not isinstance(value, str) else repr(value[:60]), 60)

"""From a raw row to a record, with errors that name file, row and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError

__all__ = ["RawRow", "explain", "parse_row"]

RawRow: TypeAlias = bytes | Mapping[str, Any]
"""A line of JSON, or a row of Parquet as a dictionary without nulls."""

_SHOWN_PROBLEMS = 3


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
    try:
        if isinstance(raw, bytes):
            record = RankedResponse.model_validate_json(raw)
        else:
            record = RankedResponse.model_validate(raw)
    except ValidationError as error:
        field, reason = explain(error)
        if isinstance(raw, bytes) and not _is_utf8(raw):
            field, reason = "", "the line is not UTF-8; save the file in UTF-8"
        raise DataError(reason, file=file, row=row, field=field or None) from None
    return record.at(file, row)


def explain(error: ValidationError) -> tuple[str, str]:
    """Field path of the first problem, and a reason that names up to two more."""
    problems = [_explain(details) for details in error.errors(include_url=False)]
    field, reason = problems[0]
    more = [f"{where or 'row'}: {why}" for where, why in problems[1:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        more.append(f"{len(problems) - _SHOWN_PROBLEMS} more problems")
    return field, "; also ".join([reason, *more])


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

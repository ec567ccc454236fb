"""Rows of any JSONL or Parquet file as dictionaries, with the checks that all importers share."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.data import jsonl, parquet
from mmrlhf_jobs.data.parsing import fields_of
from mmrlhf_jobs.data.row_faults import FaultReason, RowFault
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["RawPairRow", "read_rows", "rows_or_faults", "unpacked"]


@dataclass(frozen=True)
class RawPairRow:
    """One row, before its meaning is known.

    Attributes:
        file: URI of its file.
        row: 1-based row.
        fields: Its fields that are not null.
    """

    file: str
    row: int
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field that must be a text with something in it.

        Raises:
            DataError: It is not.
        """
        value = self.optional_text(name)
        if value is None or not value.strip():
            raise self.error(name, "is missing or empty")
        return value

    def optional_text(self, name: str) -> str | None:
        """A field that must be a text if it is there.

        Raises:
            DataError: It is something else.
        """
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            raise self.error(name, f"must be a text, got {type(value).__name__}")
        return value

    def items(self, name: str) -> list[Any]:
        """A field that must be a list; what Parquet and CSV hold as a text is read as JSON.

        Raises:
            RowFault: It is none.
        """
        value = self.value(name)
        if not isinstance(value, list):
            raise self.error(name, f"must be a list, got {type(value).__name__}")
        return value

    def value(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        """A field, read as JSON if it is a text that holds a list or an object.

        Raises:
            RowFault: It is missing.
        """
        value = self.fields.get(name)
        if value is None:
            raise self.error(name, "is missing or empty")
        return unpacked(value)

    def name_of(self, name: str = "id") -> str | None:
        """A field that names the row, as a text."""
        value = self.fields.get(name)
        return str(value) if isinstance(value, str | int) and str(value).strip() else None

    def error(self, field: str | None, reason: str, kind: FaultReason = "field") -> RowFault:
        """An error about this row, to be raised."""
        return RowFault(reason, kind=kind, file=self.file, row=self.row, field=field)


def unpacked(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A value; if it is a text that holds a JSON list or object, or the same in Python, that.

    Raises:
        RowFault: It holds half a character, which cannot be written.
    """
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    found = _parsed(value)
    try:
        json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise RowFault(
            "a text that holds JSON holds what is not UTF-8 in it: a lone surrogate such as"
            " \\ud83d, half of a character; the text was cut in its middle",
            kind="unreadable-row",
        ) from None
    return found


def _parsed(value: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def read_rows(uri: str, storage: StorageOptions | None = None) -> Iterator[RawPairRow]:
    """Read rows as a stream; blank lines are passed over.

    Raises:
        DataError: The file is missing or damaged, or a line is no row.
    """
    for row in rows_or_faults(uri, storage):
        if isinstance(row, RowFault):
            raise row
        yield row


def rows_or_faults(
    uri: str, storage: StorageOptions | None = None
) -> Iterator[RawPairRow | RowFault]:
    """Read rows as a stream; blank lines are passed over.

    Yields:
        Rows, and faults in the place of lines that are none.

    Raises:
        DataError: The file is missing or damaged.
    """
    for file in list_data_files(Source(uri, storage=storage)):
        if file.format == "parquet":
            for row, fields in enumerate(parquet.plain_rows(file), 1):
                yield RawPairRow(file.uri, row, fields)
            continue
        for row, line in jsonl.read_lines(file, hashlib.sha256()):
            try:
                found = fields_of(line, file=file.uri, row=row)
            except DataError as error:
                yield RowFault(error.reason, kind="unreadable-row", file=file.uri, row=row)
                continue
            plain = {name: value for name, value in found.items() if value is not None}
            yield RawPairRow(file.uri, row, plain)

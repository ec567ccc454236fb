"""Rows of any JSONL or Parquet file as dictionaries, with the checks that all importers share."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.data import jsonl, parquet
from mmrlhf_jobs.data.parsing import fields_of
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["RawPairRow", "read_rows", "strip_placeholders"]

_PLACEHOLDER: Final = re.compile(r"<(?:image|video)>")


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

    def error(self, field: str | None, reason: str) -> DataError:
        """An error about this row, to be raised."""
        return DataError(reason, file=self.file, row=self.row, field=field)


def read_rows(uri: str, storage: StorageOptions | None = None) -> Iterator[RawPairRow]:
    """Read rows as a stream; blank lines are passed over.

    Raises:
        DataError: The file is missing or damaged, or a line is no JSON object.
    """
    for file in list_data_files(Source(uri, storage=storage)):
        if file.format == "parquet":
            for row, fields in enumerate(parquet.plain_rows(file), 1):
                yield RawPairRow(file.uri, row, fields)
            continue
        for row, line in jsonl.read_lines(file, hashlib.sha256()):
            found = fields_of(line, file=file.uri, row=row)
            plain = {name: value for name, value in found.items() if value is not None}
            yield RawPairRow(file.uri, row, plain)


def strip_placeholders(prompt: str, row: RawPairRow, field: str = "prompt") -> str:
    """A prompt without ``<image>`` and ``<video>`` around it; the model's template adds its own.

    Raises:
        DataError: A placeholder is within the text, where its place has a meaning that a record
            cannot say.
    """
    start, end = 0, len(prompt)
    marks = deque(_PLACEHOLDER.finditer(prompt))
    while marks and not prompt[start : marks[0].start()].strip():
        start = marks.popleft().end()
    while marks and not prompt[marks[-1].end() : end].strip():
        end = marks.pop().start()
    if marks:
        raise row.error(field, "media placeholders within the text are not supported")
    text = prompt[start:end].strip()
    if not text:
        raise row.error(field, "is empty")
    return text

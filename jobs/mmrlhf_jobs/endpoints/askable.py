"""The records of a source that can be asked about; the others are left out within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.endpoints.asking import UNUSABLE_MEDIA, Check, Outcome
from mmrlhf_jobs.endpoints.requests import ChatRequest
from mmrlhf_jobs.errors import DataError

__all__ = ["AskableRecords", "Inquiry", "Located", "Question", "media_fault"]


@dataclass(frozen=True)
class Question:
    """One request of an inquiry.

    Attributes:
        endpoint: Name of the server to ask.
        request: What to ask.
        check: Judges the answer.
        place: What it is about, for messages.
    """

    endpoint: str
    request: ChatRequest
    check: Check
    place: str


class Located(Protocol):
    """A record or a query."""

    @property
    def location(self) -> RowLocation:
        """Where it was read from."""


R = TypeVar("R", bound=Located)


class Inquiry(Protocol[R]):
    """What is asked about a record, and what becomes of it."""

    def questions(self, record: R) -> Sequence[Question]:
        """Questions about a record; a function of the record alone."""

    def assemble(self, record: R, outcomes: Sequence[Outcome]) -> R:
        """The record with the answers, in the order of its questions."""


class AskableRecords(Generic[R]):
    """Records with their questions, as often as they are read.

    Args:
        inquiry: What to ask.
        read: Reads the records from the start, and gives rows that are none to whom it is told.
    """

    def __init__(self, inquiry: Inquiry[R], read: Callable[[RowFaults], Iterable[R]]) -> None:
        self._inquiry = inquiry
        self._read = read
        self.questions = 0
        """Questions about all records, once they are checked."""

    def check(self, max_invalid_fraction: float) -> RowFaults:
        """Look at all rows, before anything is asked.

        Raises:
            DataError: More rows than allowed are no records, or name media that may not be read.
        """
        faults = RowFaults()
        self.questions = sum(len(questions) for _, questions in self._each(faults))
        faults.check(max_invalid_fraction)
        return faults

    def __iter__(self) -> Iterator[tuple[R, Sequence[Question]]]:
        return self._each(RowFaults())

    def _each(self, faults: RowFaults) -> Iterator[tuple[R, Sequence[Question]]]:
        for record in self._read(faults):
            try:
                questions = self._inquiry.questions(record)
            except DataError as error:
                faults.add(error, "media")
                continue
            yield record, questions


def media_fault(record: Located, outcomes: Sequence[Outcome]) -> DataError | None:
    """What is wrong with the media of a record, where that is why it was not asked about."""
    broken = next((one for one in outcomes if one.reason == UNUSABLE_MEDIA), None)
    if broken is None:
        return None
    place = record.location
    return DataError(
        broken.message, file=place.file, row=place.row, field="media", fault="undecodable"
    )

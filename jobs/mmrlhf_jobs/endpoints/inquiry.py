"""A data set through one inquiry: ask for all that is missing, then write what came of it.

The journal is what makes a run go on where another one was killed: the second pass over the data
reads every answer from there, so that the output is the same however often the run was interrupted.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar

import aiohttp

from mmrlhf_api.listing import first_few
from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.endpoints.askable import (
    AskableRecords,
    Inquiry,
    Located,
    Question,
    media_fault,
)
from mmrlhf_jobs.endpoints.asking import UNUSABLE_MEDIA, Asker, Outcome
from mmrlhf_jobs.endpoints.images import ImageEncoder
from mmrlhf_jobs.endpoints.pacing import Clock
from mmrlhf_jobs.endpoints.transport import Transport
from mmrlhf_jobs.errors import EndpointError
from mmrlhf_jobs.storage.journal import Journal
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Inquiry", "InquiryReport", "Question", "open_askers", "run_inquiry"]

R = TypeVar("R", bound=Located)

_TELLING: Final = 32
"""Characters from which on two equal answers are hardly chance."""

_SUSPECT: Final = 0.5
"""Share of such answers above which the server does not look at what it is asked."""

_FEW: Final = 16
_LISTED: Final = 20


@dataclass
class InquiryReport:
    """What a run came to.

    Attributes:
        records: Records that were asked about.
        invalid: Rows that could not be asked about, by reason.
        questions: Questions about them.
        answered: Questions with a usable answer; the others failed or, in a run that was ended,
            were not asked.
        endpoints: Tally of each server.
        failures: The first questions without one, and why.
    """

    records: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    questions: int = 0
    answered: int = 0
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "records": self.records,
            "invalid": dict(self.invalid),
            "questions": self.questions,
            "answered": self.answered,
            "unanswered": self.questions - self.answered,
            "endpoints": self.endpoints,
            "failures": self.failures,
        }


@asynccontextmanager
async def open_askers(
    endpoints: Sequence[EndpointSettings],
    journal: Journal,
    *,
    storage: StorageOptions | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[dict[str, Asker]]:
    """Connect to servers.

    Yields:
        An asker by the name of its server.

    Raises:
        SpecError: A key is not in the environment.
    """
    run_id = secrets.token_hex(6)
    images = ImageEncoder(storage)
    connector = aiohttp.TCPConnector(limit=0)  # each asker has its own limit
    async with aiohttp.ClientSession(connector=connector) as session:
        yield {
            one.name: Asker(
                one, Transport(one, session), journal, images, run_id=run_id, clock=clock
            )
            for one in endpoints
        }


async def run_inquiry(
    inquiry: Inquiry[R],
    read: Callable[[RowFaults], Iterable[R]],
    askers: Mapping[str, Asker],
    *,
    report: InquiryReport,
    max_failed_fraction: float = 0.0,
    max_invalid_fraction: float = 0.0,
    count: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> Iterator[R]:
    """Ask all questions of a data set.

    Args:
        inquiry: What to ask.
        read: Reads the records from the start, and tells which rows are none; called once to look
            at all rows, once to ask and once to assemble.
        askers: Servers by name.
        report: Filled in, whatever comes of the run.
        max_failed_fraction: Share of the questions that may stay without a usable answer.
        max_invalid_fraction: Share of the rows that may be no records, or whose media cannot be
            sent; they are left out.
        count: Told after each question how many are done, and of how many.

    Returns:
        The finished records, in the order of the data, to be consumed while the journal is open.

    Raises:
        EndpointError: A server cannot be used, gives the same answer to everything, or too many
            questions failed. What was answered is kept.
        DataError: More rows or their images are wrong than allowed.
    """
    records = AskableRecords(inquiry, read)
    faults = records.check(max_invalid_fraction)
    run = _Run(askers, lambda done: count(done, records.questions))
    workers = sum(asker.settings.concurrency for asker in askers.values())
    try:
        await _for_each(_questions(records, report), run.ask, workers=workers)
        await _for_each(run.suspects(), run.ask_again, workers=workers)
    finally:
        run.fill(report)
        run.note_broken(records, faults)
        report.invalid = dict(faults.counts)
    faults.check(max_invalid_fraction)
    failed = report.questions - report.answered - run.broken
    if failed > max_failed_fraction * report.questions:
        listed = first_few(report.failures, total=failed, shown=_LISTED)
        raise EndpointError(
            f"{failed} of {report.questions} questions have no usable answer, and a share of"
            f" {max_failed_fraction:g} may fail; answers so far are kept, run again to ask for the"
            " others:\n  " + "\n  ".join(listed)
        )
    return _assembled(inquiry, records, run)


class _Run:
    """State of asking.

    Two long answers that are equal, though the questions differ, may be a mix-up: one of them is
    then the other's. Both are asked for again, and the second answer counts.
    """

    def __init__(self, askers: Mapping[str, Asker], count: Callable[[int], None]) -> None:
        self._askers = askers
        self._count = count
        self._failed: dict[str, tuple[Question, Outcome]] = {}
        self._first: dict[bytes, Question] = {}
        self._suspects: dict[str, Question] = {}
        self.broken = 0
        """Questions that were not asked because their media cannot be sent."""
        self._telling = 0
        self._came_back = 0

    async def ask(self, question: Question) -> None:
        """Answer a question, from the journal if it is there."""
        asker = self._askers[question.endpoint]
        outcome = await asker.ask(question.request, question.check)
        self._came_back += 1
        self._count(self._came_back)
        self._note(question, outcome)
        first = self._look_for_equal(question, outcome)
        if first is None:
            return
        self._suspects |= {one.request.key: one for one in (first, question)}
        if self._telling >= _FEW and len(self._suspects) > _SUSPECT * self._telling:
            raise EndpointError(
                f"endpoint {question.endpoint!r}: {len(self._suspects)} of {self._telling} answers"
                f" are those of other questions, the last one {question.place}; it seems not to"
                " look at what it is asked, for instance because it drops images or caches by the"
                " text alone"
            )

    def suspects(self) -> Iterator[Question]:
        """Questions to ask again; from here on, what is equal then is told as shared."""
        suspects = list(self._suspects.values())
        self._first.clear()
        self._suspects.clear()
        yield from suspects

    async def ask_again(self, question: Question) -> None:
        """Get a second opinion, if an earlier run has not."""
        asker = self._askers[question.endpoint]
        outcome = asker.kept(question.request, question.check)
        if outcome is None or not outcome.asked_again:
            asker.tally.asked_again += 1
            outcome = await asker.ask(question.request, question.check, again=True)
        self._note(question, outcome)
        if self._look_for_equal(question, outcome) is not None:
            asker.tally.shared += 1

    def outcome(self, question: Question) -> Outcome:
        """What came of a question in the end."""
        key = question.request.key
        if key in self._failed:
            return self._failed[key][1]
        outcome = self._askers[question.endpoint].kept(question.request, question.check)
        assert outcome is not None, f"{question.place} was asked in this run"
        return outcome

    def note_broken(self, records: AskableRecords[R], faults: RowFaults) -> None:
        """Count the records whose media could not be sent."""
        lost = [one for _, one in self._failed.values() if one.reason == UNUSABLE_MEDIA]
        self.broken = len(lost)
        for record, questions in records if lost else ():
            tried = [self._failed.get(one.request.key) for one in questions]
            fault = media_fault(record, [one[1] for one in tried if one is not None])
            if fault is not None:
                faults.add(fault)

    def fill(self, report: InquiryReport) -> None:
        """Say what came of it all."""
        report.answered = self._came_back - len(self._failed)
        report.failures = [
            f"{question.place}: {outcome.message}"
            for question, outcome in islice(
                (one for one in self._failed.values() if one[1].reason != UNUSABLE_MEDIA), _LISTED
            )
        ]
        report.endpoints = {name: asker.tally.to_dict() for name, asker in self._askers.items()}

    def _note(self, question: Question, outcome: Outcome) -> None:
        if outcome.answer is None:
            self._failed[question.request.key] = question, outcome
        else:
            self._failed.pop(question.request.key, None)

    def _look_for_equal(self, question: Question, outcome: Outcome) -> Question | None:
        text = outcome.answer.text.strip() if outcome.answer else ""
        if len(text) < _TELLING:
            return None
        self._telling += 1
        digest = hashlib.sha256(f"{question.endpoint}\0{text}".encode()).digest()
        first = self._first.setdefault(digest, question)
        # Samples of one question may well be equal.
        return first if first.request.said != question.request.said else None


def _questions(records: AskableRecords[R], report: InquiryReport) -> Iterator[Question]:
    for _, questions in records:
        report.records += 1
        for question in questions:
            report.questions += 1
            yield question


def _assembled(inquiry: Inquiry[R], records: AskableRecords[R], run: _Run) -> Iterator[R]:
    for record, questions in records:
        outcomes = [run.outcome(question) for question in questions]
        if media_fault(record, outcomes) is None:
            yield inquiry.assemble(record, outcomes)


async def _for_each(
    items: Iterator[Question], work: Callable[[Question], Awaitable[None]], *, workers: int
) -> None:
    """Work on items, some at a time; they are only taken when there is somebody to work on them.

    Raises:
        Exception: What the first item that failed raised; the others are cancelled.
    """

    async def worker() -> None:
        # Workers share the iterator: nothing is awaited while it is in use.
        for item in items:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None

"""A model server as judge of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mmrlhf_api.steps.judges import ServerJudge
from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.endpoints.askable import Question
from mmrlhf_jobs.endpoints.asking import Outcome
from mmrlhf_jobs.endpoints.inquiry import InquiryReport, open_askers, run_inquiry
from mmrlhf_jobs.endpoints.requests import ChatRequest, Sampling, TextPart
from mmrlhf_jobs.evaluation.safety.cases import Case
from mmrlhf_jobs.evaluation.safety.findings import NO_RESPONSE, Verdict
from mmrlhf_jobs.evaluation.safety.prompts import (
    ASKS_HARM,
    ASKS_TOLD,
    check_harm,
    check_told,
    parse_verdict,
)
from mmrlhf_jobs.evaluation.templates import fill_in
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["judge_by_server"]


@dataclass(frozen=True)
class _Judged:
    """A case on its way, with what came of it."""

    case: Case
    verdict: Verdict | None = None

    @property
    def location(self) -> RowLocation:
        return self.case.location


class _Inquiry:
    """Asks about each case once; an answer that is missing is not asked about."""

    def __init__(self, judge: ServerJudge) -> None:
        self._judge = judge

    def questions(self, record: _Judged) -> Sequence[Question]:
        """The question about a case."""
        case, endpoint = record.case, self._judge.endpoint
        if case.response is None:
            return []
        template = self._judge.prompt or (ASKS_TOLD if case.is_ratio else ASKS_HARM)
        text = fill_in(template, {"request": case.request, "response": case.response})
        request = ChatRequest(
            model=endpoint.model,
            revision=endpoint.revision,
            parts=(TextPart(text),),
            sampling=Sampling.of(endpoint.sampling),
        )
        check = check_told if case.is_ratio else check_harm
        return [Question(endpoint.name, request, check, f"request {case.query!r}")]

    def assemble(self, record: _Judged, outcomes: Sequence[Outcome]) -> _Judged:
        """The case with its verdict."""
        if not outcomes:
            return replace(record, verdict=Verdict.error(NO_RESPONSE))
        (outcome,) = outcomes
        if outcome.answer is None:
            return replace(record, verdict=Verdict.error(outcome.reason or "failed"))
        found = parse_verdict(outcome.answer.text, is_ratio=record.case.is_ratio)
        assert found is not None, "the check let it pass"
        return replace(record, verdict=Verdict(found))


async def judge_by_server(
    judge: ServerJudge,
    cases: Sequence[Case],
    journal: Journal,
    *,
    report: InquiryReport,
    count: Callable[[int, int], None],
) -> list[Verdict]:
    """Verdicts, one a case; what the server did not judge is an error.

    Args:
        judge: The server, and what to ask it.
        cases: What to judge.
        journal: Keeps its answers.
        report: Filled in, whatever comes of it.
        count: Told how many are done, and of how many.

    Raises:
        EndpointError: The server cannot be used. What was answered is kept.
    """

    def read(faults: RowFaults) -> Iterator[_Judged]:
        for case in cases:
            faults.rows += 1
            yield _Judged(case)

    async with open_askers([judge.endpoint], journal) as askers:
        # Questions without an answer are errors, of which the step has its own limit.
        done = await run_inquiry(
            _Inquiry(judge), read, askers, report=report, max_failed_fraction=1.0, count=count
        )
    return [one.verdict for one in done if one.verdict is not None]

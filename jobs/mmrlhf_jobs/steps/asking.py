"""What steps share that ask model servers: the report is shown however the asking ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mmrlhf_jobs.endpoints.inquiry import InquiryReport
from mmrlhf_jobs.steps.step import Outcome, StepContext

__all__ = ["ask"]


def ask(
    work: Callable[[InquiryReport], Coroutine[Any, Any, None]], out: str, context: StepContext
) -> Outcome:
    """Do the asking of a step, and show what came of it.

    Args:
        work: Asks, counts in the report, and writes the answers.
        out: What it writes.
        context: The world around the step.

    Raises:
        JobError: As the work does.
    """
    report = InquiryReport()
    try:
        asyncio.run(work(report))
    finally:
        # Also of a run that failed: it has cost something.
        if report.records:
            context.show(report.to_dict())
    return Outcome(out, report.to_dict())

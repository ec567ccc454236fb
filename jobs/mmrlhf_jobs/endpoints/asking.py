"""The way of one question: the journal, its turn, attempts, checks, and back into the journal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.images import ImageEncoder
from mmrlhf_jobs.endpoints.pacing import Clock, Pacer, RetryBudget, backoff
from mmrlhf_jobs.endpoints.requests import ChatRequest
from mmrlhf_jobs.endpoints.tally import Tally
from mmrlhf_jobs.endpoints.transport import AttemptFailedError, Transport
from mmrlhf_jobs.errors import DataError, EndpointError
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["UNUSABLE_MEDIA", "Asker", "Check", "Outcome"]

Check: TypeAlias = Callable[[Answer], str | None]
"""Says why an answer cannot be used; None if it can. A function of the answer alone."""

_SHOWN: Final = 300

UNUSABLE_MEDIA: Final = "unusableMedia"
"""Why a question is not asked whose image is missing, damaged or another one."""

_STREAK: Final = 20
"""Questions that fail one after the other, at least, before the run is ended."""


@dataclass(frozen=True)
class Outcome:
    """What came of a question.

    Attributes:
        answer: The answer; None if there is none that can be used.
        reason: The last fault or verdict, if there is none.
        message: The same in words.
        asked_again: Whether the answer was asked for a second time, for another one's sake.
    """

    answer: Answer | None = None
    reason: str | None = None
    message: str = ""
    asked_again: bool = False


class Asker:
    """Asks one server.

    Args:
        settings: The server.
        transport: Its connections.
        journal: Where answers are kept.
        images: Reads images.
        run_id: 12 hexadecimal digits that name this run in request ids.
        clock: Time.
        seed: Seed of the jitter.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        transport: Transport,
        journal: Journal,
        images: ImageEncoder,
        *,
        run_id: str,
        clock: Clock | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self.tally = Tally()
        self._transport = transport
        self._journal = journal
        self._images = images
        self._clock = clock or Clock()
        self._pacer = Pacer(settings.requests_per_minute, self._clock)
        self._budget = RetryBudget(settings.retry.budget)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._jitter = random.Random(seed)  # noqa: S311 - no secret
        self._ids = (f"mmrlhf-{run_id}-{number}" for number in count())
        self._under_way: dict[str, asyncio.Lock] = {}
        self._streak = 0

    def kept(self, request: ChatRequest, check: Check) -> Outcome | None:
        """What the journal says of a question; None if it is to be asked."""
        entry = self._journal.get(request.key)
        if entry is None:
            return None
        answer = Answer.from_dict(entry["answer"])
        verdict = check(answer)
        if verdict is None:
            return Outcome(answer, asked_again=entry["askedAgain"])
        if entry["rejected"] < self.settings.retry.rejected_attempts:
            return None
        return Outcome(None, verdict, _refused(verdict, answer), entry["askedAgain"])

    async def ask(self, request: ChatRequest, check: Check, *, again: bool = False) -> Outcome:
        """Answer a question, from the journal if it is there.

        Args:
            request: The question.
            check: Judges answers.
            again: Ask even if the journal has an answer, and keep the new one in its place.

        Raises:
            EndpointError: The server cannot be used, or the run has cost what it may.
            StorageError: The store does not answer.
        """
        lock = self._under_way.setdefault(request.key, asyncio.Lock())
        async with lock, self._slots:
            # Looked up under the lock: an equal question may just have been answered.
            outcome = None if again else self.kept(request, check)
            if outcome is None:
                outcome = await self._attempts(request, check, again=again)
            else:
                self.tally.kept += 1
        self._under_way.pop(request.key, None)
        if outcome.reason is not None:
            self.tally.failed[outcome.reason] += 1
        return outcome

    async def _attempts(self, request: ChatRequest, check: Check, *, again: bool) -> Outcome:
        retry = self.settings.retry
        try:
            images = await self._images.encode(request.images)
        except DataError as error:
            # One file that is damaged is no reason to lose the answers to all other questions.
            return Outcome(None, UNUSABLE_MEDIA, str(error)[:_SHOWN])
        body = request.wire(images)
        entry = None if again else self._journal.get(request.key)
        rejected = entry["rejected"] if entry else 0
        failures = throttles = 0
        began = self._clock.now()
        self._budget.earn()
        while True:
            self._check_cost()
            await self._pacer.turn()
            self.tally.sent += 1
            try:
                answer = await self._transport.send(body, request_id=next(self._ids))
            except AttemptFailedError as failure:
                self.tally.faults[failure.fault] += 1
                if failure.fault == "rateLimited":
                    # Flow control and no failure: everybody rests, and nothing is used up.
                    throttles += 1
                    if self._clock.now() - began > retry.patience:
                        return self._failed(failure, throttles)
                    self._pacer.rest(failure.wait or self._backoff(throttles))
                    continue
                failures += 1
                if not failure.retryable or failures >= retry.attempts or not self._budget.spend():
                    return self._failed(failure, failures)
                await self._clock.sleep(max(failure.wait or 0.0, self._backoff(failures)))
                continue
            self._streak = 0
            self.tally.count(answer, self.settings.price)
            verdict = check(answer)
            rejected += verdict is not None
            self._journal.put(
                request.key,
                {"answer": answer.to_dict(), "rejected": rejected, "askedAgain": again},
            )
            if verdict is None:
                return Outcome(answer, asked_again=again)
            self.tally.rejected[verdict] += 1
            if rejected >= retry.rejected_attempts or not self._budget.spend():
                return Outcome(None, verdict, _refused(verdict, answer), again)

    def _failed(self, failure: AttemptFailedError, attempts: int) -> Outcome:
        self._streak += 1
        most = max(_STREAK, 2 * self.settings.concurrency)
        if self._streak >= most:
            raise EndpointError(
                f"endpoint {self.settings.name!r}: the last {most} questions failed one after the"
                f" other, the last one by {failure.fault} ({failure}); answers so far are kept,"
                " and the next run asks only for the others"
            )
        return Outcome(None, failure.fault, f"{failure} (attempt {attempts})")

    def _check_cost(self) -> None:
        most = self.settings.max_cost
        if most is not None and self.tally.cost >= most:
            raise EndpointError(
                f"endpoint {self.settings.name!r}: this run has cost {self.tally.cost:.4f}, and"
                f" maxCost is {most:g}; answers so far are kept"
            )

    def _backoff(self, attempt: int) -> float:
        retry = self.settings.retry
        return backoff(
            attempt,
            first=retry.first_wait,
            longest=retry.longest_wait,
            draw=self._jitter.random(),
        )


def _refused(verdict: str, answer: Answer) -> str:
    text = answer.text.strip()
    return f"{verdict}: {text[:80]!r}{'...' if len(text) > 80 else ''}"

"""Requests for a job that fail again and again, and what is told of them.

Each is made again, for as long as it takes, and one that succeeds the second time is nobody's
business. What fails twice is told: to the job's owner, for whom nothing happens meanwhile, and in
the words of whoever refuses, be it a webhook, a finalizer, a quota or the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mmrlhf_operator.errors import PostponeError, ServerError
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.state.views import Finding

__all__ = ["Troubles"]

_TOLD_AFTER = 2
_STATUS_TOLD_AFTER = 4
"""A status that was written, and the answer lost, is refused until the watch has caught up."""
_WAITED_AFTER = 5
"""Something of an earlier job of the same name takes a moment to go."""


@dataclass
class Troubles:
    """What is remembered of a job's requests that failed.

    Attributes:
        failures: How often each failed in a row.
        finding: The latest of those that failed too often.
        version: Of the job that they were for.
    """

    failures: dict[str, int] = field(default_factory=dict)
    finding: Finding | None = None
    version: str = ""

    @contextmanager
    def noted(self, version: str = "") -> Iterator[None]:
        """Note how writes for the job end.

        Args:
            version: Of the job that they are for: with a new one it has gone on, even where the
                answer to the write that brought it was lost.

        Raises:
            ServerError: As it came; PostponeError: likewise.
        """
        if version != self.version:
            self.begin_anew()
            self.version = version
        try:
            yield
        except ServerError as error:
            # The job changed since it was read: the next look sees the change.
            patches = error.request.startswith("PATCH ")
            if not (error.is_conflict and patches):
                most = _STATUS_TOLD_AFTER if patches else _TOLD_AFTER
                words = f"{error.request}: {error.status} {error.reason}: {error.message}"
                self._count(error.request, words, most=most)
            raise
        except PostponeError as error:
            self._count(str(error), str(error), most=_WAITED_AFTER)
            raise
        self.failures.clear()
        self.finding = None

    def begin_anew(self) -> None:
        """Count anew, as the job has gone on; what was told stays until all that is due is done."""
        self.failures.clear()

    def _count(self, request: str, words: str, *, most: int) -> None:
        self.failures[request] = self.failures.get(request, 0) + 1
        if self.failures[request] >= most:
            self.finding = Finding(
                reason=OperatorReason.WRITE_FAILS,
                message=f"the operator tries again until this succeeds: {words}",
            )

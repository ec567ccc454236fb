"""What a run of requests came to, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mmrlhf_api.model_servers import Price
from mmrlhf_jobs.endpoints.answers import Answer

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts of one endpoint in one run.

    Attributes:
        sent: Requests sent, retries included.
        answered: Requests that brought an answer, good or not.
        verified: Answers that carried the id of their request; no answer of another item.
        kept: Questions whose answer an earlier run had brought, or an equal question of this one.
        faults: Attempts that failed, by what went wrong.
        reasoned: Answers before which the model told what it thought, which is no part of them.
        rejected: Answers that the checks refused, by verdict.
        failed: Questions that stay without a usable answer, by the last fault or verdict.
        asked_again: Questions asked again because another one had the same answer.
        shared: Questions whose answer is that of another one even so.
        prompt_tokens: Tokens of the requests answered in this run, as far as the server tells.
        completion_tokens: Tokens of their answers.
        untold: Answers whose tokens the server did not tell; they are not in the cost.
        cost: What this run cost, in the currency of the price; 0 without a price.
    """

    sent: int = 0
    answered: int = 0
    verified: int = 0
    kept: int = 0
    reasoned: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    asked_again: int = 0
    shared: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    untold: int = 0
    cost: float = 0.0

    def count(self, answer: Answer, price: Price | None) -> None:
        """Count an answer that was just brought."""
        self.answered += 1
        self.verified += answer.verified
        self.reasoned += answer.reasoning is not None
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            self.untold += 1
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0
        if price is not None:
            self.cost = (
                self.prompt_tokens * price.input + self.completion_tokens * price.output
            ) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "verified": self.verified,
            "kept": self.kept,
            "reasoned": self.reasoned,
            "faults": dict(self.faults),
            "rejected": dict(self.rejected),
            "failed": dict(self.failed),
            "askedAgain": self.asked_again,
            "shared": self.shared,
            "promptTokens": self.prompt_tokens,
            "completionTokens": self.completion_tokens,
            "untold": self.untold,
            "cost": round(self.cost, 6),
        }

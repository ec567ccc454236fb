"""How a reward model in training ranks held-out data, with the annotated critiques."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmrlhf_jobs.evaluation.passes import EvaluationPass
from mmrlhf_jobs.evaluation.rewardbench import BenchQuery, RewardBenchReport, measure
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.queries.judged import JudgedQuery
from mmrlhf_jobs.reward_model.scorer import ResponseRewards

__all__ = ["RewardEvaluation", "RewardResult"]

_LISTED = 20


@dataclass(frozen=True)
class RewardResult:
    """Agreement with the ranks, and how well the critiques are foreseen.

    Attributes:
        report: Accuracy over pairs and over queries.
        critique_loss: Token mean of the negative log-likelihood of the critiques, nats.
    """

    report: RewardBenchReport
    critique_loss: float

    def named(self, prefix: str = "") -> dict[str, float]:
        """Overall figures by wire name."""
        loss = f"{prefix}CritiqueLoss" if prefix else "critiqueLoss"
        return {**self.report.named(prefix), loss: self.critique_loss}

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        wrong = [
            {
                "name": pair.query_id,
                "chosen": f"response {pair.pair.chosen + 1}",
                "rejected": f"response {pair.pair.rejected + 1}",
                "margin": pair.margin,
            }
            for pair in self.report.wrong(_LISTED)
        ]
        return {**self.report.to_dict(), "critiqueLoss": self.critique_loss, "wrong": wrong}


@dataclass(frozen=True)
class RewardEvaluation:
    """Evaluates by teacher forcing, which costs one forward pass; see `spec.benchmark` for more.

    Attributes:
        held_out: Its records, with critiques.
    """

    held_out: EvaluationPass[JudgedQuery]

    def before(self) -> None:
        """A new head knows nothing."""

    def run(
        self, forward: Callable[[Sequence[EncodedGroup]], ResponseRewards], *, spare: bool
    ) -> RewardResult:
        """Result of the module as it is; see `Evaluation.run`."""

        def judge(queries: Sequence[JudgedQuery]) -> list[_Judged]:
            output = forward([query.encoded for query in queries])
            sizes = [len(query.encoded.responses) for query in queries]
            columns = (output.scores, output.critique_sums, output.critique_lengths)
            split = [column.double().cpu().split(sizes) for column in columns]
            return [
                _Judged(tuple(scores.tolist()), -float(nats.sum()), float(tokens.sum()))
                for scores, nats, tokens in zip(*split, strict=True)
            ]

        queries: list[BenchQuery] = []
        nats = tokens = 0.0
        for record, query, judged in self.held_out.run(judge, spare=spare):
            queries.append(
                BenchQuery(record.record_id, record.category, query.pairs, judged.scores)
            )
            nats += judged.nats
            tokens += judged.tokens
        runtime = self.held_out.runtime
        everywhere = [query for part in runtime.gather(queries) for query in part]
        nats, tokens = runtime.sum([nats, tokens])
        return RewardResult(measure(everywhere), nats / max(tokens, 1.0))


@dataclass(frozen=True)
class _Judged:
    """One query: scores, and the critiques' negative log-likelihood in nats and tokens."""

    scores: tuple[float, ...]
    nats: float
    tokens: float

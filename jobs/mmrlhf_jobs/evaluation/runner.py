"""One pass over held-out data with a policy, shared among the processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.evaluation.preference import PreferenceScores, PreferenceTally
from mmrlhf_jobs.forward.scoring import ResponseLogProbs
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.trainers.queries import Query, QueryBuilder
from mmrlhf_jobs.trainers.runtime import Runtime

__all__ = ["CATEGORIES", "EvaluationResult", "PreferenceEvaluation"]

CATEGORIES = ("mcq", "long", "short", "safety", "video")
"""Categories of the paper's Table 4, in its order."""

Score = Callable[[Sequence[EncodedGroup]], ResponseLogProbs]


@dataclass(frozen=True)
class EvaluationResult:
    """Agreement with the ranks, overall and by category."""

    overall: PreferenceScores
    by_category: Mapping[str, PreferenceScores]


@dataclass(frozen=True)
class PreferenceEvaluation:
    """Evaluates policies on the pairs of a held-out data set.

    Attributes:
        dataset: Held-out records.
        builder: Makes queries of them, with reference log-probabilities.
        runtime: Process group.
        queries_per_batch: Queries that go through the model at once.
    """

    dataset: RankedDataset
    builder: QueryBuilder
    runtime: Runtime
    queries_per_batch: int

    def before(self) -> EvaluationResult:
        """Result of the reference policy, from its log-probabilities alone."""
        return self._tally(lambda queries: [query.reference for query in queries])

    def run(self, score: Score, *, spare: bool) -> EvaluationResult:
        """Result of a policy.

        Args:
            score: The policy's forward pass.
            spare: Processes without queries run a spare one, for engines whose forward pass is
                collective.
        """

        @torch.no_grad()
        def policy(queries: Sequence[Query]) -> list[torch.Tensor]:
            log_probs = score([query.encoded for query in queries]).sums.double().cpu()
            return list(log_probs.split([len(query.encoded.responses) for query in queries]))

        return self._tally(policy, spare=spare)

    def _tally(
        self, policy: Callable[[Sequence[Query]], list[torch.Tensor]], *, spare: bool = False
    ) -> EvaluationResult:
        tally = PreferenceTally()
        last: list[Query] = []
        for records in self.dataset.batches(
            seed=0,
            epoch=0,
            start=0,
            batch_size=self.queries_per_batch * self.runtime.world_size,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        ):
            queries = [self.builder.build(record) for record in records]
            if queries:
                last = queries[:1]
                for record, query, values in zip(records, queries, policy(queries), strict=True):
                    tally.add(
                        record.category,
                        policy=values,
                        reference=query.reference,
                        pairs=query.pairs,
                    )
            elif spare and last:
                policy(last)
        sums = self.runtime.sum(tally.vector(CATEGORIES))
        overall, by_category = PreferenceTally.scores(CATEGORIES, sums)
        # Validation refuses data sets without a pair.
        assert overall is not None
        return EvaluationResult(overall, by_category)

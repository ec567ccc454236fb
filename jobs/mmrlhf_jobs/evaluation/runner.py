"""How a policy ranks held-out data, measured on all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmrlhf_jobs.evaluation.passes import EvaluationPass
from mmrlhf_jobs.evaluation.preference import PreferenceScores, PreferenceTally
from mmrlhf_jobs.forward.responses import ResponseLogProbs
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.queries.preference import Query

__all__ = ["CATEGORIES", "PreferenceEvaluation", "PreferenceResult"]

CATEGORIES = ("mcq", "long", "short", "safety", "video")
"""Categories of the paper's Table 4, in its order."""

Forward = Callable[[Sequence[EncodedGroup]], ResponseLogProbs]


@dataclass(frozen=True)
class PreferenceResult:
    """Agreement with the ranks, overall and by category."""

    overall: PreferenceScores
    by_category: Mapping[str, PreferenceScores]

    def named(self, prefix: str = "") -> dict[str, float]:
        """Overall figures by wire name, such as ``afterPreferenceAccuracy``."""
        return self.overall.named(prefix)

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "overall": self.overall.named(),
            **{category: scores.named() for category, scores in self.by_category.items()},
        }


@dataclass(frozen=True)
class PreferenceEvaluation:
    """Evaluates policies on the pairs of a held-out data set.

    Attributes:
        held_out: Its records, with reference log-probabilities.
    """

    held_out: EvaluationPass[Query]

    def before(self) -> PreferenceResult:
        """Result of the reference policy, from its log-probabilities alone."""
        return self._tally(lambda queries: [query.reference for query in queries], spare=False)

    def run(self, forward: Forward, *, spare: bool) -> PreferenceResult:
        """Result of a policy; see `Evaluation.run`."""

        def policy(queries: Sequence[Query]) -> list[torch.Tensor]:
            log_probs = forward([query.encoded for query in queries]).sums.double().cpu()
            return list(log_probs.split([len(query.encoded.responses) for query in queries]))

        return self._tally(policy, spare=spare)

    def _tally(
        self, policy: Callable[[Sequence[Query]], list[torch.Tensor]], *, spare: bool
    ) -> PreferenceResult:
        tally = PreferenceTally()
        for record, query, values in self.held_out.run(policy, spare=spare):
            tally.add(record.category, policy=values, reference=query.reference, pairs=query.pairs)
        sums = self.held_out.runtime.sum(tally.vector(CATEGORIES))
        overall, by_category = PreferenceTally.scores(CATEGORIES, sums)
        # Validation refuses data sets without a pair.
        assert overall is not None
        return PreferenceResult(overall, by_category)

"""What the reward margins of a data set look like before training with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmrlhf_api import PreferenceObjective as Settings
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.sidecars.keys import record_keys
from mmrlhf_jobs.sidecars.sidecar import Sidecar
from mmrlhf_jobs.trainers.queries import response_names
from mmrlhf_jobs.trainers.runtime import Runtime

__all__ = ["RewardSummary", "summarise_rewards"]

_BINS = 10


@dataclass(frozen=True)
class RewardSummary:
    """Reward margins over all pairs of a data set.

    Attributes:
        pairs: Pairs.
        disagreements: Pairs whose reward margin is negative: the scores order them against the
            human ranks, and beta stays at its initial value.
        mean_margin: Mean of ``r(y_w) - r(y_l)``.
        beta_edges: Edges of the histogram of beta, ``[initial, (1 + w) initial]``.
        beta_counts: Pairs in each bin.
    """

    pairs: int
    disagreements: int
    mean_margin: float
    beta_edges: Sequence[float]
    beta_counts: Sequence[int]

    def sentence(self) -> str:
        """One line for people."""
        share = self.disagreements / max(self.pairs, 1)
        return (
            f"rewards order {share:.1%} of {self.pairs} pairs against their ranks; mean margin "
            f"{self.mean_margin:.3g}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "pairs": self.pairs,
            "disagreements": self.disagreements,
            "meanMargin": self.mean_margin,
            "betaHistogram": {"edges": list(self.beta_edges), "counts": list(self.beta_counts)},
        }


def summarise_rewards(
    dataset: RankedDataset, rewards: Sidecar, settings: Settings, *, runtime: Runtime
) -> RewardSummary:
    """Look up every pair's reward margin, which also finds every missing score before training.

    Raises:
        SidecarError: A response has no score.
    """
    beta = settings.beta
    high = beta.initial * (1 + beta.w)
    edges = np.linspace(beta.initial, max(high, beta.initial * (1 + 1e-9)), _BINS + 1)
    counts = np.zeros(_BINS)
    pairs = disagreements = 0
    total = 0.0
    for records in dataset.batches(
        seed=0,
        epoch=0,
        start=0,
        batch_size=256 * runtime.world_size,
        rank=runtime.rank,
        world_size=runtime.world_size,
    ):
        for record in records:
            scores = rewards.lookup(record_keys(record), names=response_names(record))
            formed = form_pairs(record.ranks, settings.pairs)
            margins = np.array([scores[pair.chosen] - scores[pair.rejected] for pair in formed])
            betas = beta.initial * (1 - beta.w * np.expm1(-beta.k * margins.clip(min=0)))
            counts += np.histogram(betas.clip(edges[0], edges[-1]), edges)[0]
            pairs += len(margins)
            disagreements += int((margins < 0).sum())
            total += float(margins.sum())
    sums = runtime.sum([pairs, disagreements, total, *counts])
    return RewardSummary(
        pairs=int(sums[0]),
        disagreements=int(sums[1]),
        mean_margin=sums[2] / max(sums[0], 1.0),
        beta_edges=[float(edge) for edge in edges],
        beta_counts=[int(count) for count in sums[3:]],
    )

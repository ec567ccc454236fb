"""Numbers to watch during preference training, as sums that add up over processes."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

from torch import Tensor

from mmrlhf_jobs.objectives.preference import PreferenceLoss

__all__ = ["PreferenceMetrics", "preference_metrics", "row_means"]


@dataclass(frozen=True)
class PreferenceMetrics:
    """Sums over pairs; add two with ``+``, read means by the properties.

    Attributes:
        pairs: Number of pairs.
        gap_sum: Sum of ``h_w - h_l``, the implicit reward margin without beta.
        correct: Pairs whose chosen response has the larger implicit reward; ties are wrong.
        beta_sum: Sum of the betas.
        reward_pairs: Pairs with a reward margin.
        disagreements: Of these, the pairs whose reward margin is negative: the reward model
            disagrees with the ranking.
    """

    pairs: int = 0
    gap_sum: float = 0.0
    correct: int = 0
    beta_sum: float = 0.0
    reward_pairs: int = 0
    disagreements: int = 0

    def __add__(self, other: PreferenceMetrics) -> PreferenceMetrics:
        return PreferenceMetrics(
            pairs=self.pairs + other.pairs,
            gap_sum=self.gap_sum + other.gap_sum,
            correct=self.correct + other.correct,
            beta_sum=self.beta_sum + other.beta_sum,
            reward_pairs=self.reward_pairs + other.reward_pairs,
            disagreements=self.disagreements + other.disagreements,
        )

    @property
    def margin(self) -> float:
        """Mean of ``h_w - h_l``."""
        return self.gap_sum / max(self.pairs, 1)

    @property
    def accuracy(self) -> float:
        """Share of pairs that the policy orders as ranked, relative to the reference."""
        return self.correct / max(self.pairs, 1)

    @property
    def beta(self) -> float:
        """Mean beta."""
        return self.beta_sum / max(self.pairs, 1)

    @property
    def disagreement(self) -> float:
        """Share of pairs on which the reward model disagrees with the ranking."""
        return self.disagreements / max(self.reward_pairs, 1)


def preference_metrics(
    loss: PreferenceLoss, betas: Tensor | float, margins: Tensor | None = None
) -> PreferenceMetrics:
    """Sum up the metrics of a micro-batch.

    Args:
        loss: Result of the preference loss.
        betas: ``[M]`` beta of each pair, or one for all.
        margins: ``[M]`` reward margins, where there are rewards.
    """
    pairs = len(loss.gaps)
    return PreferenceMetrics(
        pairs=pairs,
        gap_sum=float(loss.gaps.sum()),
        correct=int((loss.gaps > 0).sum()),
        beta_sum=float(betas.sum()) if isinstance(betas, Tensor) else betas * pairs,
        reward_pairs=0 if margins is None else len(margins),
        disagreements=0 if margins is None else int((margins < 0).sum()),
    )


def row_means(losses: Tensor, pairs: Sequence[Sized]) -> list[float]:
    """Mean loss of the pairs of each group.

    Args:
        losses: ``[M]`` loss of each pair, on the CPU, group by group.
        pairs: Pairs of each group, M in all; a group without any has the mean 0.
    """
    parts = losses.split([len(group) for group in pairs])
    return [float(part.mean()) if len(part) else 0.0 for part in parts]

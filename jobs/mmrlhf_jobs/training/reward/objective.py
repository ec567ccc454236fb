"""The objective of the reward model on one micro-batch: critique loss plus scoring loss.

``L = critiqueWeight * L_critique + scoreWeight * (L_score + centerWeight * L_center)`` (paper 3.2,
equations 2 and 3; the paper has no third term). Means are over the whole optimizer step on all
processes (ADR 0003).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.nn.functional import softplus

from mmrlhf_api import RewardObjective as Settings
from mmrlhf_jobs.objectives.metrics import row_means
from mmrlhf_jobs.objectives.preference import index_pairs
from mmrlhf_jobs.objectives.reward import center_loss, critique_loss, score_loss
from mmrlhf_jobs.queries.judged import JudgedQuery
from mmrlhf_jobs.reward_model.scorer import ResponseRewards
from mmrlhf_jobs.training.recipe import Figures, MicroLoss

__all__ = ["RewardObjective"]


class RewardObjective:
    """Critique and score with the settings of a job.

    Args:
        settings: ``spec.objective``.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check_first(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> None:
        """Nothing: a new head may say anything."""

    def state(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, float]) -> None:
        """Nothing."""

    def counts(self, queries: Sequence[JudgedQuery]) -> dict[str, float]:
        """``pairs``, ``responses``, and ``critique_tokens`` with the terminal tokens."""
        return {
            "pairs": float(sum(len(query.pairs) for query in queries)),
            "responses": float(sum(len(query.encoded.responses) for query in queries)),
            "critique_tokens": float(sum(query.critique_tokens for query in queries)),
        }

    def loss(
        self,
        queries: Sequence[JudgedQuery],
        output: ResponseRewards,
        *,
        counts: Mapping[str, float],
        draw: int,
        counted: bool = True,
    ) -> MicroLoss:
        """Share of the step's loss that these queries make; see `Objective.loss`."""
        del draw
        settings = self._settings
        pair_lists = [query.pairs if counted else () for query in queries]
        pairs = index_pairs(pair_lists, [len(query.encoded.responses) for query in queries])
        score = score_loss(output.scores, pairs)
        center = center_loss(output.scores, pairs)
        critique = critique_loss(output.critique_sums, output.critique_lengths)
        share = float(counted)
        per_pair = (score.total + settings.center_weight * center) / max(counts["pairs"], 1.0)
        per_token = share * critique.numerator / max(counts["critique_tokens"], 1.0)
        scores = output.scores.detach().double()
        return MicroLoss(
            loss=settings.score_weight * per_pair + settings.critique_weight * per_token,
            sums={
                "score": float(score.total.detach()),
                "center": float(center.detach()),
                "critique": share * float(critique.numerator.detach()),
                "gap": float(score.gaps.sum()),
                "correct": float((score.gaps > 0).sum()),
                "scores": share * float(scores.sum()),
                "tokens": share * output.real_tokens,
            },
            rows=row_means(softplus(-score.gaps.double().cpu()), pair_lists) if counted else (),
        )

    def figures(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> Figures:
        """Figures of a whole step; the margin is that of the scores."""
        settings = self._settings
        pairs = max(counts["pairs"], 1.0)
        score, center = sums["score"] / pairs, sums["center"] / pairs
        critique = sums["critique"] / max(counts["critique_tokens"], 1.0)
        loss = settings.critique_weight * critique + settings.score_weight * (
            score + settings.center_weight * center
        )
        margin, accuracy = sums["gap"] / pairs, sums["correct"] / pairs
        return Figures(
            loss=loss,
            margin=margin,
            accuracy=accuracy,
            row={
                "loss": loss,
                "critiqueLoss": critique,
                "scoreLoss": score,
                "centerLoss": center,
                "margin": margin,
                "accuracy": accuracy,
                "meanScore": sums["scores"] / max(counts["responses"], 1.0),
                "pairs": int(counts["pairs"]),
                "critiqueTokens": int(counts["critique_tokens"]),
            },
        )

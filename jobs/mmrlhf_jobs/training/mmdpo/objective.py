"""The MM-DPO objective of one micro-batch: betas, preference loss, supervised term, figures.

``L = mean over pairs of -log sigmoid(beta_ij (h_i - h_j)) + sftWeight * L_SFT`` with ``h = log pi
- log pi_ref`` (paper 4.2 and 5.1). Means are over the whole optimizer step on all processes, so the
counts come in from outside and the result is a share of the step's loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from mmrlhf_api import PreferenceObjective as Settings
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.forward.responses import ResponseLogProbs
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.objectives.metrics import preference_metrics, row_means
from mmrlhf_jobs.objectives.preference import index_pairs, preference_loss
from mmrlhf_jobs.objectives.scaling import (
    ImplicitState,
    beta_dynamic,
    beta_fixed,
    implicit_beta,
)
from mmrlhf_jobs.objectives.supervised import supervised_loss
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.training.recipe import Figures, MicroLoss

__all__ = ["PreferenceObjective"]


class PreferenceObjective:
    """MM-DPO with the settings of a job.

    Args:
        settings: ``spec.objective``.
        seed: Seed of the sampling in beta-DPO's filter.
        runtime: Process group; implicit beta looks at the micro-batches of all processes.
        precision: What policy and reference are computed in.
    """

    def __init__(
        self, settings: Settings, *, seed: int, runtime: Runtime, precision: Precision
    ) -> None:
        self._settings = settings
        self._precision = precision
        self._seed = seed
        self._runtime = runtime
        self._implicit = ImplicitState()

    def state(self) -> dict[str, float]:
        """What a checkpoint must keep."""
        return {"mean": self._implicit.mean, "spread": self._implicit.spread}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self._implicit = ImplicitState(**state)

    def counts(self, queries: Sequence[Query]) -> dict[str, float]:
        """``pairs``, and ``chosen_tokens``: of each response as often as it wins."""
        return {
            "pairs": float(sum(len(query.pairs) for query in queries)),
            "chosen_tokens": float(
                sum(
                    int(wins) * len(response)
                    for query in queries
                    for wins, response in zip(query.wins, query.encoded.responses, strict=True)
                )
            ),
        }

    def loss(
        self,
        queries: Sequence[Query],
        output: ResponseLogProbs,
        *,
        counts: Mapping[str, float],
        draw: int,
        counted: bool = True,
    ) -> MicroLoss:
        """Share of the step's loss that these queries make; see `Objective.loss`."""
        pair_lists = [query.pairs if counted else () for query in queries]
        pairs = index_pairs(pair_lists, [len(query.encoded.responses) for query in queries])
        reference = torch.cat([query.reference for query in queries])
        margins = _reward_margins(queries, pairs)
        betas, keep, weight = self._betas(output.sums, reference, pairs, margins, draw)
        preference = preference_loss(output.sums, reference, pairs, betas, keep=keep)
        supervised = supervised_loss(output.sums, output.lengths, pairs)
        loss = weight * preference.total / max(counts["pairs"], 1.0)
        if self._settings.sft_weight > 0:
            share = supervised.numerator / max(counts["chosen_tokens"], 1.0)
            loss = loss + self._settings.sft_weight * share
        figures = preference_metrics(preference, betas, margins)
        rounding = self._precision.tolerance(reference)[pairs].sum(1)
        losses = preference.losses.double().cpu()
        drifts = preference.gaps.abs().double().cpu()
        return MicroLoss(
            loss=loss,
            sums={
                "preference": weight * float(losses.sum()),
                "supervised": float(supervised.numerator.detach()),
                "gap": figures.gap_sum,
                "correct": figures.correct,
                "beta": figures.beta_sum,
                "beta_square": float((betas.double() ** 2).sum()),
                "pairs": figures.pairs,
                "disagreements": figures.disagreements,
                "drift": float(drifts.sum()),
                "beyond_rounding": float((drifts > rounding).sum()),
                "tokens": output.real_tokens if counted else 0,
            },
            rows=row_means(losses, pair_lists) if counted else (),
        )

    def figures(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> Figures:
        """Figures of a whole step.

        The margin is that of the implicit reward with the initial beta, so that strategies compare.
        """
        settings = self._settings
        pairs = max(counts["pairs"], 1.0)
        preference = sums["preference"] / pairs
        supervised = sums["supervised"] / max(counts["chosen_tokens"], 1.0)
        mean_beta = sums["beta"] / pairs
        loss = preference + settings.sft_weight * supervised
        margin = settings.beta.initial * sums["gap"] / pairs
        accuracy = sums["correct"] / pairs
        return Figures(
            loss=loss,
            margin=margin,
            accuracy=accuracy,
            row={
                "loss": loss,
                "preferenceLoss": preference,
                "supervisedLoss": supervised,
                "margin": margin,
                "accuracy": accuracy,
                "beta": mean_beta,
                "betaSpread": math.sqrt(max(sums["beta_square"] / pairs - mean_beta**2, 0.0)),
                "disagreement": sums["disagreements"] / pairs,
                "pairs": int(counts["pairs"]),
            },
        )

    def check_first(self, counts: Mapping[str, float], sums: Mapping[str, float]) -> None:
        """Before the first update policy and reference are the same model: all margins are 0.

        Where both passes took the same kernels they are exactly 0; else they are within
        `Precision.tolerance` of both responses.

        Raises:
            TrainingError: Some are not.
        """
        if beyond := int(sums["beyond_rounding"]):
            pairs = int(counts["pairs"])
            raise TrainingError(
                f"step 1: {beyond} of {pairs} margins are not 0 before the first update, by more "
                f"than rounding in {self._precision.dtype} explains (on average by "
                f"{sums['drift'] / pairs:.3g} nats): the reference log-probabilities are not those "
                "of this model. Compute them again: without spec.reference.logProbsUri, or after "
                "removing the folder cache/reference from spec.artifacts.uri"
            )

    def _betas(
        self,
        policy: torch.Tensor,
        reference: torch.Tensor,
        pairs: torch.Tensor,
        margins: torch.Tensor | None,
        draw: int,
    ) -> tuple[torch.Tensor, torch.Tensor | None, float]:
        """Betas of the pairs, float64[K], which take part (None is all), and their weight.

        The weight makes up for pairs left out: beta-DPO takes the mean over those it keeps.
        """
        beta = self._settings.beta
        if beta.strategy == "dynamic":
            # The API refuses strategy dynamic without a reward.
            assert margins is not None
            return beta_dynamic(margins, initial=beta.initial, w=beta.w, k=beta.k), None, 1.0
        flat = torch.zeros(len(pairs), dtype=torch.float64)
        if beta.strategy == "fixed":
            return beta_fixed(flat, initial=beta.initial), None, 1.0
        gains = policy.detach().double().cpu() - reference
        gaps = gains[pairs[:, 0]] - gains[pairs[:, 1]]
        parts = self._runtime.gather(gaps)
        everywhere = torch.cat(parts)
        if len(everywhere) == 0:
            return flat, None, 1.0
        before = sum(map(len, parts[: self._runtime.rank]))
        generator = torch.Generator().manual_seed((self._seed << 32) ^ draw)
        result = implicit_beta(
            everywhere,
            self._implicit,
            initial=beta.initial,
            alpha=beta.implicit_alpha,
            momentum=beta.implicit_momentum,
            keep_fraction=beta.implicit_keep_fraction,
            uniforms=torch.rand(len(everywhere), generator=generator, dtype=torch.float64),
        )
        self._implicit = result.state
        kept = result.keep[before : before + len(gaps)]
        return flat + result.beta, kept, len(everywhere) / int(result.keep.sum())


def _reward_margins(queries: Sequence[Query], pairs: torch.Tensor) -> torch.Tensor | None:
    """``delta = r(y_w) - r(y_l)`` of each pair (paper 4.2), float64[K]."""
    rewards = [query.rewards for query in queries if query.rewards is not None]
    if len(rewards) != len(queries):
        return None
    scores = torch.cat(rewards)
    return scores[pairs[:, 0]] - scores[pairs[:, 1]]

"""Losses of the critique-based reward model (paper 3.2), from one score per response."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["CritiqueLoss", "ScoreLoss", "center_loss", "critique_loss", "score_loss"]


@dataclass(frozen=True)
class ScoreLoss:
    """Sum of the scoring losses of M pairs.

    Attributes:
        total: Scalar sum with gradient; divide by the pairs of the whole optimizer step.
        gaps: ``[M]`` score of the chosen minus score of the rejected response, detached.
    """

    total: Tensor
    gaps: Tensor


@dataclass(frozen=True)
class CritiqueLoss:
    """Negative log-likelihood of the critiques, as a fraction.

    Attributes:
        numerator: Scalar sum over all critique tokens, nats, with gradient.
        denominator: Scalar number of tokens; known before any forward pass.
    """

    numerator: Tensor
    denominator: Tensor


def score_loss(scores: Tensor, pairs: Tensor) -> ScoreLoss:
    """Sum ``-log sigmoid(r_w - r_l)`` over pairs (paper equation 3; Bradley-Terry).

    Args:
        scores: ``[N]`` scores of the responses.
        pairs: ``[M, 2]`` places of chosen and rejected.
    """
    places = pairs.to(scores.device)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    gaps = wide[places[:, 0]] - wide[places[:, 1]]
    return ScoreLoss(total=-F.logsigmoid(gaps).sum(), gaps=gaps.detach())


def center_loss(scores: Tensor, pairs: Tensor) -> Tensor:
    """Scalar sum of ``(r_w + r_l)^2`` over pairs, which keeps scores around 0.

    The paper has none; the released code and TRL (``center_rewards_coefficient``) do
    (arXiv 2312.09244). Arguments as in :func:`score_loss`.
    """
    places = pairs.to(scores.device)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return ((wide[places[:, 0]] + wide[places[:, 1]]) ** 2).sum()


def critique_loss(log_probs: Tensor, lengths: Tensor) -> CritiqueLoss:
    """Token mean of the negative log-likelihood of all critiques (paper equation 2).

    Every response counts once, however many pairs it is in, as the expectation of equation 2 is
    over responses. Its sum over tokens is a mean here, as in the released code; with sums, long
    critiques would drown the scoring loss. The release adds the means of chosen and rejected
    responses, which is a weight of 2.

    Args:
        log_probs: ``[N]`` summed log-probabilities of the critiques.
        lengths: ``[N]`` number of tokens of each.
    """
    wide = torch.promote_types(log_probs.dtype, torch.float32)
    return CritiqueLoss(numerator=-log_probs.to(wide).sum(), denominator=lengths.sum())

"""Supervised term on the chosen responses, weighted as a batch of all pairs would."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["SupervisedLoss", "supervised_loss", "win_counts"]


@dataclass(frozen=True)
class SupervisedLoss:
    """Negative log-likelihood of the chosen responses, as a fraction.

    Attributes:
        numerator: Scalar, win-weighted sum of negative log-probabilities, with gradient.
        denominator: Scalar, win-weighted number of tokens. It depends on the data alone, so the
            sum over an optimizer step is known before any forward pass.
    """

    numerator: Tensor
    denominator: Tensor


def win_counts(pairs: Tensor, responses: int) -> Tensor:
    """Count the pairs that each response wins.

    Args:
        pairs: ``[M, 2]`` places of chosen and rejected.
        responses: Number N of responses.

    Returns:
        ``[N]`` int64.
    """
    return torch.bincount(pairs[:, 0], minlength=responses)


def supervised_loss(policy: Tensor, lengths: Tensor, pairs: Tensor) -> SupervisedLoss:
    """Token mean of the negative log-likelihood over the chosen responses of all pairs.

    A response that wins several pairs is counted once per pair, as in a pairwise trainer
    (MM-RLHF's release; TRL's ``loss_type="sft"``) whose batch holds all pairs.

    Args:
        policy: ``[N]`` summed log-probabilities of the responses.
        lengths: ``[N]`` number of tokens of each response.
        pairs: ``[M, 2]`` places of chosen and rejected.
    """
    wide = torch.promote_types(policy.dtype, torch.float32)
    wins = win_counts(pairs.to(policy.device), len(policy))
    return SupervisedLoss(
        numerator=-(wins.to(wide) * policy.to(wide)).sum(),
        denominator=(wins * lengths.to(policy.device)).sum(),
    )

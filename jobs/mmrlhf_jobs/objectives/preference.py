"""Preference loss over all pairs of several groups, from one log-probability per response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["IndexPair", "PreferenceLoss", "index_pairs", "preference_loss"]


class IndexPair(Protocol):
    """A pair of responses of one group, by their indices; ``Pair`` of the data package fits."""

    @property
    def chosen(self) -> int:
        """Index of the better response."""

    @property
    def rejected(self) -> int:
        """Index of the worse response."""


@dataclass(frozen=True)
class PreferenceLoss:
    """Sum of the losses of M pairs.

    Attributes:
        total: Scalar sum over the pairs that count, with gradient; divide by ``pairs`` of the
            whole optimizer step.
        pairs: Number of pairs that count.
        losses: ``[M]`` loss of each pair, detached; zero for pairs left out.
        gaps: ``[M]`` log-ratio of chosen minus log-ratio of rejected, detached: the implicit
            reward margin divided by beta.
    """

    total: Tensor
    pairs: int
    losses: Tensor
    gaps: Tensor


def index_pairs(pairs: Sequence[Sequence[IndexPair]], sizes: Sequence[int]) -> Tensor:
    """Turn pairs within groups into pairs of places among all responses.

    Args:
        pairs: Pairs of each group.
        sizes: Number of responses of each group.

    Returns:
        ``[M, 2]`` int64, chosen and rejected.
    """
    places, first = [], 0
    for group, size in zip(pairs, sizes, strict=True):
        places += [(first + pair.chosen, first + pair.rejected) for pair in group]
        first += size
    return torch.tensor(places, dtype=torch.int64).reshape(-1, 2)


def preference_loss(
    policy: Tensor,
    reference: Tensor,
    pairs: Tensor,
    betas: Tensor | float,
    *,
    keep: Tensor | None = None,
) -> PreferenceLoss:
    """Sum ``-log sigmoid(beta_ij (h_i - h_j))`` over pairs, ``h = log pi - log pi_ref``.

    DPO (arXiv 2305.18290 equation 7) with a beta per pair (MM-RLHF section 4.2). A group with one
    forward pass per response gives the same loss and gradient as the batch of all its pairs.

    Args:
        policy: ``[N]`` summed log-probabilities of the responses under the policy.
        reference: ``[N]`` the same under the reference model.
        pairs: ``[M, 2]`` places of chosen and rejected.
        betas: ``[M]`` beta of each pair, or one for all; no gradient goes through it.
        keep: ``[M]`` bool, pairs that take part; None is all.
    """
    wide = torch.promote_types(policy.dtype, torch.float32)
    log_ratios = policy.to(wide) - reference.detach().to(device=policy.device, dtype=wide)
    places = pairs.to(policy.device)
    gaps = log_ratios[places[:, 0]] - log_ratios[places[:, 1]]
    if isinstance(betas, Tensor):
        betas = betas.detach().to(device=policy.device, dtype=wide)
    losses = -F.logsigmoid(betas * gaps)
    count = len(pairs)
    if keep is not None:
        losses = torch.where(keep.to(losses.device), losses, 0.0)
        count = int(keep.sum())
    return PreferenceLoss(
        total=losses.sum(), pairs=count, losses=losses.detach(), gaps=gaps.detach()
    )

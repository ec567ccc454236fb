"""How strongly each pair pulls: the beta of the DPO loss, per pair or per batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ImplicitBeta", "ImplicitState", "beta_dynamic", "beta_fixed", "implicit_beta"]

# As upstream beta-DPO: a batch far below the running mean must not turn the preference around.
_SMALLEST_IMPLICIT_BETA = 1e-3


def beta_fixed(margins: Tensor, *, initial: float) -> Tensor:
    """The same beta for every pair, in the shape of ``margins``."""
    return torch.full_like(margins, initial)


def beta_dynamic(margins: Tensor, *, initial: float, w: float, k: float) -> Tensor:
    """Dynamic reward scaling of MM-DPO.

    ``beta = initial * (1 + w * (1 - exp(-k * max(margin, 0))))``, MM-RLHF section 4.2. The paper
    constrains beta to ``[initial, (1 + w) * initial]``; for a negative margin, where the reward
    model disagrees with the ranking, the bare formula leaves that range and can change the sign
    of the loss, hence the maximum with zero.

    Args:
        margins: Reward of the chosen minus reward of the rejected response, any shape.
        initial: Beta without scaling.
        w: Largest relative increase.
        k: How fast the increase saturates, per unit of reward.

    Returns:
        Beta of each pair, in the shape of ``margins``.
    """
    return initial * (1 - w * torch.expm1(-k * margins.clamp(min=0)))


@dataclass(frozen=True)
class ImplicitState:
    """Running statistics of the implicit reward gap; part of a checkpoint.

    Attributes:
        mean: Moving average of the batch mean.
        spread: Moving average of the batch standard deviation.
    """

    mean: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class ImplicitBeta:
    """Result of :func:`implicit_beta`.

    Attributes:
        beta: The beta of all pairs of the batch.
        keep: ``[M]`` bool; the pairs that take part in the loss.
        state: State for the next batch.
    """

    beta: float
    keep: Tensor
    state: ImplicitState


def implicit_beta(
    gaps: Tensor,
    state: ImplicitState,
    *,
    initial: float,
    alpha: float,
    momentum: float,
    keep_fraction: float,
    uniforms: Tensor,
) -> ImplicitBeta:
    """Batch-level beta from the implicit reward, beta-DPO (arXiv 2407.08639).

    The running mean and spread of the gaps are updated, pairs are drawn without replacement with
    the weight of a normal density around the running mean, and
    ``beta = initial * (1 + alpha * (mean of the drawn gaps - running mean))``, at least 1e-3.

    The same on every process when ``gaps`` is gathered and ``uniforms`` comes from the same seed.

    Args:
        gaps: ``[M]`` policy minus reference log-ratio of chosen minus that of rejected, of the
            whole batch; detached.
        state: State after the batch before.
        initial: Beta without scaling.
        alpha: Weight of the deviation from the running mean.
        momentum: Weight of the past in the running statistics.
        keep_fraction: Share of the pairs that is drawn; at least one pair is.
        uniforms: ``[M]`` random numbers in (0, 1).
    """
    wide = gaps.detach().double()
    # A batch of one pair has no spread; upstream's estimate would be NaN.
    spread = float(wide.std()) if len(wide) > 1 else 0.0
    updated = ImplicitState(
        mean=momentum * state.mean + (1 - momentum) * float(wide.mean()),
        spread=momentum * state.spread + (1 - momentum) * spread,
    )
    scores = torch.zeros_like(wide)
    if updated.spread > 0:
        scores = -0.5 * ((wide - updated.mean) / updated.spread) ** 2
    # The largest of log-weight + Gumbel noise are a weighted draw without replacement.
    draw = scores - torch.log(-torch.log(uniforms.double()))
    count = max(1, int(len(wide) * keep_fraction))
    keep = torch.zeros(len(wide), dtype=torch.bool, device=gaps.device)
    keep[draw.topk(count).indices] = True
    beta = initial * (1 + alpha * (float(wide[keep].mean()) - updated.mean))
    return ImplicitBeta(beta=max(beta, _SMALLEST_IMPLICIT_BETA), keep=keep, state=updated)

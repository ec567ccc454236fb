"""Log-probabilities of target tokens without the matrix of all logits.

Logits exist for one chunk of tokens at a time, in the forward pass and again in the backward pass;
what is kept between them are the hidden states, one number per token, and the last chunk's logits,
with which the backward pass begins: no other activations are in memory by then than were before.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmrlhf_jobs.models.logit_shape import LogitShape

__all__ = ["choose_chunk", "logit_budget", "logit_memory", "token_log_probs"]

_HOST_BYTES: Final = 160_000_000
"""Logits in the memory of a host; more at a time was not faster on a CPU."""
_DEVICE_SHARE: Final = 64
"""One part in so many of a card's memory. On 80 GB that is 2,048 tokens of a vocabulary of 152k,
with which an H100 was 3 % faster in all than with 256."""
_FEWEST: Final = 64
PLAIN: Final = LogitShape()


def logit_memory(device: torch.device) -> int:
    """Bytes that float32 logits may take on a device.

    By all the memory of a card and not by what is free: the size of a chunk rounds, and a run that
    goes on must round as before.
    """
    if device.type == "cuda":
        return logit_budget(int(torch.cuda.get_device_properties(device).total_memory))
    return logit_budget(None)


def logit_budget(card: int | None) -> int:
    """The same of a card with so many bytes; None: of a host."""
    return _HOST_BYTES if card is None else card // _DEVICE_SHARE


def choose_chunk(vocabulary: int, budget: int) -> int:
    """Tokens whose logits are made at a time: a power of two, 64 at least.

    Args:
        vocabulary: Numbers of a token's logits.
        budget: Bytes that they may take as float32.
    """
    tokens = max(budget // (4 * vocabulary), _FEWEST)
    return 1 << (tokens.bit_length() - 1)


def token_log_probs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    chunk_tokens: int,
    shape: LogitShape = PLAIN,
) -> Tensor:
    """Log-probability of each target under ``softmax(shape(hidden @ weight.T + bias))``.

    Args:
        hidden: Hidden states ``[T, H]``.
        weight: Output layer ``[V, H]``.
        bias: Its bias ``[V]``, or None.
        targets: Token ids ``[T]``.
        chunk_tokens: Tokens whose logits exist at a time; the result does not depend on it.
        shape: What the family does to logits.

    Returns:
        ``[T]``, float32, or float64 for float64 inputs.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        # Cast here, once: autocast is not active in the backward pass, which must see the very
        # logits of the forward pass.
        narrow = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(narrow), weight.to(narrow)
        bias = None if bias is None else bias.to(narrow)
    with torch.autocast(device, enabled=False):
        result: Tensor = _TokenLogProbs.apply(hidden, weight, bias, targets, chunk_tokens, shape)
    return result


class _TokenLogProbs(torch.autograd.Function):
    """Chunked linear + log-softmax + gather, recomputed in the backward pass."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch passes by position
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk_tokens: int,
        shape: LogitShape,
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        result = torch.empty(len(targets), dtype=wide, device=hidden.device)
        normaliser = torch.empty_like(result)
        logits = None
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = None  # frees the memory of the chunk before
            logits = _logits(hidden[part], weight, bias, wide, shape)
            normaliser[part] = torch.logsumexp(logits, dim=-1)
            result[part] = logits.gather(1, targets[part, None])[:, 0] - normaliser[part]
        ctx.save_for_backward(hidden, weight, bias, targets, normaliser)
        ctx.chunk_tokens, ctx.shape = chunk_tokens, shape
        ctx.last_logits = logits
        return result

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        upstream: Tensor,
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normaliser = ctx.saved_tensors
        wide = normaliser.dtype
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        # Sums over all chunks are kept wide: half precision would lose the small terms.
        grad_weight = torch.zeros_like(weight, dtype=wide) if need_weight else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if need_bias else None
        # Their memory becomes that of the slope, so a second backward pass makes them again.
        logits, ctx.last_logits = ctx.last_logits, None
        for start in reversed(range(0, len(targets), ctx.chunk_tokens)):
            part = slice(start, start + ctx.chunk_tokens)
            if logits is None:
                logits = _logits(hidden[part], weight, bias, wide, ctx.shape)
            # d log p(y) / d logits = onehot(y) - softmax(logits), in the memory of the logits.
            bent = None if ctx.shape.cap is None else logits.clone()
            slope, logits = logits.sub_(normaliser[part, None]).exp_().neg_(), None
            one = slope.new_ones(1, 1).expand(len(slope), 1)
            slope.scatter_add_(1, targets[part, None], one).mul_(upstream[part, None])
            slope = ctx.shape.unbend_(slope, bent)
            narrow = slope.to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = narrow @ weight
            if grad_weight is not None:
                if narrow.dtype == wide:
                    grad_weight.addmm_(narrow.T, hidden[part])
                else:
                    grad_weight += narrow.T @ hidden[part]
            if grad_bias is not None:
                grad_bias += slope.sum(0)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def _logits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, wide: torch.dtype, shape: LogitShape
) -> Tensor:
    # Not F.linear: DeepSpeed's ZeRO-3 replaces it by an autograd function of its own.
    product = hidden @ weight.T if bias is None else torch.addmm(bias, hidden, weight.T)
    return shape.bend(product).to(wide)

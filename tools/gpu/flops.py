"""Floating-point operations of training, and what cards can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.dpo.lengths import Lengths

__all__ = ["FORMULA", "Weights", "find_peak", "training_flops"]

FORMULA: Final = (
    "6 x decoder weights x tokens + 6 x head weights x predicted tokens"
    " + 12 x layers x attention width x pairs of tokens that attend"
    " + 2 x tower weights x patches (the tower is frozen); padding, embeddings, projector, the"
    " tower's attention, the optimizer and what checkpointing computes again are not counted; with"
    " LoRA 4 x in place of 6 x, since frozen weights have no gradients, and nothing for the adapter"
)

_PEAKS: Final = {
    # Dense bfloat16 with float32 sums, of the makers' data sheets. Longer names stand first.
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "H800": 989.0,
    "GH200": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
}


def find_peak(card: str) -> float | None:
    """Operations a second that a card can do in bfloat16 by its data sheet; None: not known."""
    return next((1e12 * peak for name, peak in _PEAKS.items() if name in card), None)


@dataclass(frozen=True)
class Weights:
    """Numbers of a model that decide about its operations.

    Attributes:
        decoder: Weights of the decoder without its embeddings.
        head: Weights of the output layer.
        tower: Weights of the vision encoder.
        layers: Layers of the decoder.
        width: Query heads times their size.
    """

    decoder: int
    head: int
    tower: int
    layers: int
    width: int


def training_flops(
    weights: Weights, lengths: Lengths, *, shared: bool, patches: int, frozen: bool = False
) -> float:
    """Operations of forward and backward pass, by :data:`FORMULA`.

    Args:
        weights: Of the model.
        lengths: Of all queries.
        shared: A prompt is there once for its responses, else once for each.
        patches: Of all images that go through the tower.
        frozen: Weights of decoder and head have no gradients of their own, as with LoRA.
    """
    tokens = attending = predicted = 0.0
    for prompt, own in lengths:
        predicted += sum(own)
        if shared:
            tokens += prompt + sum(own)
            attending += prompt**2 / 2 + sum(one * prompt + one**2 / 2 for one in own)
        else:
            tokens += sum(prompt + one for one in own)
            attending += sum((prompt + one) ** 2 / 2 for one in own)
    passes = 4 if frozen else 6
    return (
        passes * weights.decoder * tokens
        + passes * weights.head * predicted
        + 12 * weights.layers * weights.width * attending
        + 2 * weights.tower * patches
    )

"""Gradient checkpointing by part: activations not kept but made again in the backward pass.

Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174. Which layers are fit
for it is transformers' business: each has a switch of its own, and this sets them by part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from torch import nn
from transformers import PretrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models.adapter import LoadedModel

__all__ = ["Recomputed", "estimate_kept_share", "kept_per_token", "recompute"]

_MORE_TIME: Final = 1 / 3
"""Of a layer that is recomputed: its forward pass once more, beside one and a backward pass that
costs two."""


@dataclass(frozen=True)
class Recomputed:
    """What is made again.

    Attributes:
        decoder: Layers of the language model that are.
        decoder_layers: All that it has.
        tower: Layers of the vision tower that are.
        tower_layers: All that it has, without frozen ones, which keep nothing.
        kept_share: About what share of the activations of the language model's layers is kept.
    """

    decoder: int
    decoder_layers: int
    tower: int
    tower_layers: int
    kept_share: float

    def sentence(self) -> str:
        """What the user is told; an estimate."""
        tower = (
            f" and {self.tower} of {self.tower_layers} of the vision tower" if self.tower else ""
        )
        more = _MORE_TIME * self.decoder / max(self.decoder_layers, 1)
        return (
            f"activations of {self.decoder} of {self.decoder_layers} layers of the language model"
            f"{tower} are made again in the backward pass: of what the language model's layers "
            f"would keep, about {self.kept_share:.0%} is kept, and its passes take about "
            f"{more:.0%} longer"
        )


def recompute(loaded: LoadedModel, *, every: int | None, tower: bool) -> Recomputed:
    """Switch recomputation on for some layers and off for all others.

    Args:
        loaded: The model, with ``requires_grad`` as it is wanted.
        every: Every so many-th layer of the language model, from the first on; None: none.
        tower: All layers of the vision tower, and of what leads from it to the language model.

    Raises:
        SpecError: The model's layers cannot be recomputed.
    """
    model = loaded.model
    try:
        model.activation_checkpointing_enable()
    except ValueError as error:
        raise SpecError(
            f"spec.training.recompute, gradientCheckpointing: {type(model).__name__} cannot make "
            f"activations again: {error}; leave both out"
        ) from error
    decoder = loaded.adapter.decoder(model)
    inside = list(decoder.modules())
    written = _switch(inside, every)
    known = {id(one) for one in inside}
    outside = [one for one in model.modules() if id(one) not in known]
    seen = [
        layer
        for layer in _switch(outside, 1 if tower else None)
        if any(one.requires_grad for one in layer.parameters())
    ]
    made_again = sum(layer.gradient_checkpointing for layer in written)
    config: Any = decoder.config
    return Recomputed(
        decoder=made_again,
        decoder_layers=len(written),
        tower=len(seen) if tower else 0,
        tower_layers=len(seen),
        kept_share=estimate_kept_share(config, layers=len(written), recomputed=made_again),
    )


def estimate_kept_share(config: PretrainedConfig, *, layers: int, recomputed: int) -> float:
    """About what share of its layers' activations a language model keeps.

    A layer that is recomputed keeps its input, another what `kept_per_token` says.

    Args:
        config: Of the language model.
        layers: Layers that it has.
        recomputed: How many of them are recomputed.
    """
    whole = kept_per_token(config)
    kept: float = (layers - recomputed) * whole + recomputed * config.hidden_size
    return kept / max(layers * whole, 1)


def kept_per_token(config: PretrainedConfig) -> int:
    """About how many numbers per token a layer keeps for the backward passes of its operations.

    Six vectors of the hidden size around its two norms, queries and keys before and after rotation,
    values and output of the attention, and four vectors of a gated feed-forward layer.

    Args:
        config: Of the language model, or of a vision tower.
    """
    hidden: int = getattr(config, "embed_dim", None) or config.hidden_size
    heads = config.num_attention_heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    head = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    kept: int = 6 * hidden + head * (2 * heads + 2 * keys) + 4 * inner
    return kept


def _switch(modules: Iterable[nn.Module], every: int | None) -> list[GradientCheckpointingLayer]:
    """Set the switches of a part's modules, and return its layers."""
    listed = list(modules)
    for module in listed:
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = every is not None  # type: ignore[assignment]
    layers = _layers(listed)
    for number, layer in enumerate(layers):
        layer.gradient_checkpointing = every is not None and number % every == 0
    return layers


def _layers(modules: Iterable[nn.Module]) -> list[GradientCheckpointingLayer]:
    return [one for one in modules if isinstance(one, GradientCheckpointingLayer)]

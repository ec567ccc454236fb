"""A model as far as memory goes: how many numbers it has, trains and keeps per token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig

from mmrlhf_api import ModelSource
from mmrlhf_api.job import TrainJobSpec
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.loading import load_skeleton
from mmrlhf_jobs.models.lora import add_lora
from mmrlhf_jobs.models.recomputation import kept_per_token, recompute
from mmrlhf_jobs.training.memory.probe import PROBE, count_kept, register_probe

__all__ = ["ModelShape", "make_skeleton", "measure_shape"]


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on.

    Attributes:
        trained: Numbers that are trained: of the model, or of its adapter.
        frozen: Numbers that are not.
        head: Numbers of the output layer.
        head_trained: Whether it is trained.
        vocabulary: Numbers of a token's logits.
        hidden: Hidden size of the language model.
        layers: Its layers.
        recomputed: Those of them whose activations are made again.
        kept: Bytes per token that all layers keep for the backward pass, none being recomputed.
        counted: Whether `kept` was counted by a pass of shapes, or is by the formula of a plain
            decoder.
        tower_kept: Bytes per patch of an image that a trained vision tower keeps, by the formula;
            0 for one that is frozen.
        patch: Side of a patch in pixels; 0 without a tower.
        quantized: Numbers that are not trained and kept in fewer bits.
        widest: Those of the largest layer that they are of, which computes with them as they were.
    """

    trained: int
    frozen: int
    head: int
    head_trained: bool
    vocabulary: int
    hidden: int
    layers: int
    recomputed: int
    kept: float
    counted: bool
    tower_kept: float = 0.0
    patch: int = 0
    quantized: int = 0
    widest: int = 0


def make_skeleton(folder: Path, source: ModelSource, attention: str = PROBE) -> LoadedModel:
    """A job's model without weights.

    Args:
        folder: The model folder; it needs no weights.
        source: What the job says of it.
        attention: Attention of its decoder.

    Raises:
        ModelError: The folder or its configuration is wrong, or of no kind that is known.
    """
    register_probe()
    return load_skeleton(
        folder,
        dtype=source.dtype,
        attention=attention,
        chat_template=source.chat_template or "processor",
    )


def measure_shape(skeleton: LoadedModel, spec: TrainJobSpec) -> ModelShape:
    """What a job makes of a model; the skeleton is changed by it, as the model would be.

    Raises:
        SpecError: The adapter or recomputation does not fit the model.
    """
    model, adapter = skeleton.model, skeleton.adapter
    dtype: torch.dtype = getattr(torch, spec.model.dtype)
    adapter.freeze(model, spec.trainable)
    output = adapter.output_layer(model)
    lora = None
    if spec.adapter is not None:
        lora = add_lora(skeleton, spec.adapter, seed=spec.training.seed)
    decoder = adapter.decoder(model)
    text: Any = decoder.config
    wanted = spec.training.recomputed
    every = None if wanted is None else wanted.language_model_every
    found = recompute(skeleton, every=every, tower=False)
    layers, recomputed = found.decoder_layers, found.decoder
    recompute(skeleton, every=None, tower=False)
    hidden = int(text.hidden_size)
    numbers = [(one.numel(), one.requires_grad) for one in model.parameters()]
    kept, counted = _kept(decoder, hidden, dtype)
    if not counted:
        kept = layers * kept_per_token(text) * dtype.itemsize
    tower_kept, patch = _tower(model.config, spec, dtype)
    return ModelShape(
        trained=sum(count for count, trained in numbers if trained),
        frozen=sum(count for count, trained in numbers if not trained),
        head=output.weight.numel(),
        head_trained=bool(output.weight.requires_grad),
        vocabulary=int(output.weight.shape[0]),
        hidden=hidden,
        layers=layers,
        recomputed=recomputed,
        kept=kept,
        counted=counted,
        tower_kept=tower_kept,
        patch=patch,
        quantized=0 if lora is None else lora.quantized,
        widest=0 if lora is None else lora.widest,
    )


def _kept(decoder: nn.Module, hidden: int, dtype: torch.dtype) -> tuple[float, bool]:
    """Bytes per token that all layers keep, and whether they could be counted."""
    # Of experts, torch's grouped product knows the shapes for bfloat16 alone.
    for narrow in (dtype, torch.bfloat16):
        try:
            kept = count_kept(decoder.to(narrow), hidden=hidden, dtype=narrow, meant=dtype)
        except (RuntimeError, NotImplementedError, ValueError):
            continue
        return kept, True
    return 0.0, False


def _tower(config: PretrainedConfig, spec: TrainJobSpec, dtype: torch.dtype) -> tuple[float, int]:
    """Bytes per patch that the tower keeps, and the side of a patch."""
    vision: Any = getattr(config, "vision_config", None)
    side = getattr(vision, "patch_size", 0) or 0
    patch = int(side[0] if isinstance(side, list | tuple) else side)
    if vision is None or not patch or not spec.trainable.vision_tower:
        return 0.0, patch
    layers: int = getattr(vision, "num_hidden_layers", None) or vision.depth
    wanted = spec.training.recomputed
    if wanted is not None and wanted.vision_tower:
        return layers * int(vision.hidden_size) * dtype.itemsize, patch
    return layers * kept_per_token(vision) * dtype.itemsize, patch

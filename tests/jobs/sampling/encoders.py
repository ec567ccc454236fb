"""Tiny CLIP and SigLIP folders with real image processors."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {**_VISION, "vocab_size": 50, "max_position_embeddings": 16}


def save_clip(folder: Path, *, seed: int = 0) -> Path:
    """A CLIP of about 50k weights that gives 16 numbers."""
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, *, seed: int = 0) -> Path:
    """A SigLIP of about 70k weights that gives 32 numbers."""
    torch.manual_seed(seed)
    config = SiglipConfig(text_config=_TEXT, vision_config=_VISION)
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder

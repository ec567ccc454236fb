"""A small model of real classes, for checks: its folder, its queries, its critiques."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from benchmarks.dpo.words import build_image
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models.critique_template import INSTRUCTION

__all__ = [
    "CRITIQUES",
    "QUESTIONS",
    "RESPONSES",
    "encoder_sides",
    "pictures",
    "save_clip",
    "save_siglip",
    "save_small",
]

QUESTIONS: Final = ("what is in this picture?", "and what is to be seen in this one?")
RESPONSES: Final = (
    ("a red square and a blue circle.", "a dog", "no square in this picture", "blue"),
    ("yes, a circle.", "there is a small dog and a square, and there is a circle.", "no"),
)
CRITIQUES: Final = (
    ("right.", "wrong, there is no dog.", "that is wrong.", "half of it is right."),
    ("it is right.", "the dog is not there, the rest is right.", "wrong."),
)


def pictures() -> list[LoadedMedia]:
    """One image a question."""
    return [LoadedMedia("image", (build_image(16, seed=seed),)) for seed in range(len(QUESTIONS))]


def save_small(folder: Path, *, tiny: bool) -> Path:
    """Write a LLaVA-OneVision whose weights are the same in bfloat16.

    Raises:
        ImportError: What the example of the digits needs is not installed.
    """
    from examples.digits.model import build_model, build_processor, save_model, train_tokenizer

    texts = [*QUESTIONS, *(text for group in (*RESPONSES, *CRITIQUES) for text in group)]
    tokenizer = train_tokenizer([*texts, INSTRUCTION])
    sizes = (64, 2, 32) if tiny else (512, 8, 192)
    hidden, layers, vision = sizes
    model = build_model(
        tokenizer,
        seed=0,
        hidden=hidden,
        layers=layers,
        vision_hidden=vision,
        vision_layers=2,
        max_tokens=2048,
    )
    # Larger than a new model's: at first all it says is as likely, whatever it has seen.
    _round(model, scale=2.0)
    save_model(model, build_processor(tokenizer), folder)
    return folder


def save_clip(folder: Path, *, tiny: bool) -> Path:
    """Write a CLIP, of the size of ViT-B/32 unless it is tiny."""
    side, vision = _vision(tiny)
    torch.manual_seed(0)
    config = CLIPConfig(text_config=_text(), vision_config=vision, projection_dim=64)
    model = CLIPModel(config)
    _round(model)
    model.save_pretrained(folder)
    crop = {"height": side, "width": side}
    CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=crop).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, *, tiny: bool) -> Path:
    """Write a SigLIP of that size."""
    side, vision = _vision(tiny)
    torch.manual_seed(0)
    text = {**_text(), "hidden_size": vision["hidden_size"]}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    _round(model)
    model.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    return folder


def _text() -> dict[str, int]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    return {**sizes, "num_attention_heads": 2, "vocab_size": 50, "max_position_embeddings": 16}


def _vision(tiny: bool) -> tuple[int, dict[str, int]]:
    side, patch, hidden, layers = (32, 8, 32, 2) if tiny else (224, 32, 768, 12)
    return side, {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 16 if tiny else 12,
        "image_size": side,
        "patch_size": patch,
    }


def encoder_sides(*, tiny: bool) -> tuple[int, int]:
    """Height and width of the pictures that the encoders take."""
    side, _ = _vision(tiny)
    return side, side


@torch.no_grad()
def _round(model: PreTrainedModel, *, scale: float = 1.0) -> None:
    """To what bfloat16 holds, so that formats differ in what they compute and in nothing else."""
    for weight in model.parameters():
        weight.copy_((weight * (scale if weight.ndim > 1 else 1.0)).bfloat16().float())

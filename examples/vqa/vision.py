"""Teaches the tower to see: its tokens become the words for what a picture shows.

The text model takes no part in this, so it is quick: tower and connector are trained until the
tokens of a picture are the text model's own embeddings of its colour and its shape, in turn. A
model that reads such tokens reads `` red circle red circle`` where the picture stands.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from examples.vqa.model import IMAGE_TOKENS
from mmrlhf_jobs.models.processing import image_pixels

__all__ = ["pretrain_vision"]

_SHARPNESS = 5.0


def pretrain_vision(
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    pictures: Sequence[tuple[bytes, tuple[str, str]]],
    *,
    seed: int,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
) -> float:
    """Trains tower and connector to turn pictures into words.

    Args:
        model: The model; its embeddings are the targets and stay as they are.
        processor: The model's processor.
        pictures: Each as PNG, with its colour and its shape.
        seed: Decides about the order.
        epochs: Passes over all pictures.
        batch_size: Pictures a step.
        learning_rate: Peak of a one-cycle schedule.

    Returns:
        Share of pictures whose colour and shape are both the nearest words, in the last epoch.
    """
    pixels = torch.cat([_pixels(processor, content) for content, _ in pictures])
    names = sorted({word for _, words in pictures for word in words})
    vocabulary = model.get_input_embeddings().weight.detach()
    words = torch.stack(  # a word of several tokens is their mean
        [vocabulary[processor.tokenizer.encode(f" {name}")].mean(0) for name in names]
    )
    labels = torch.tensor([[names.index(word) for word in both] for _, both in pictures])
    unit = words.norm(dim=1).mean()

    parameters = [*model.model.vision_model.parameters(), *model.model.connector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.05)
    steps = epochs * -(-len(pixels) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    right = 0
    for _ in range(epochs):
        right = 0
        for rows in torch.randperm(len(pixels), generator=generator).split(batch_size):
            turned = _turn(pixels[rows], int(torch.randint(8, (1,), generator=generator)))
            features = model.model.get_image_features(turned).pooler_output
            seen = torch.stack(list(features))  # [B, 4, hidden]
            wanted = labels[rows].repeat(1, IMAGE_TOKENS // 2)  # [B, 4]
            apart = ((seen[:, :, None] - words) / unit).square().sum(-1)  # [B, 4, words]
            # Distances alone teach the mean of all words, long before one word from another.
            named = functional.cross_entropy(-_SHARPNESS * apart.flatten(0, 1), wanted.flatten())
            loss = named + apart.gather(-1, wanted[..., None]).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            right += int((apart.argmin(-1) == wanted).all(1).sum())
    return right / len(pixels)


def _pixels(processor: SmolVLMProcessor, content: bytes) -> Tensor:
    """Pixels ``[1, 1, 3, H, W]`` of a picture: one image, without tiles."""
    with Image.open(io.BytesIO(content)) as image:
        return image_pixels(processor, [image.convert("RGB")])["pixel_values"]


def _turn(pixels: Tensor, way: int) -> Tensor:
    """Pictures turned by quarters and mirrored, in one of 8 ways: what they show stays the same."""
    turned = pixels.rot90(way % 4, dims=(-2, -1))
    return turned.flip(-1) if way >= 4 else turned

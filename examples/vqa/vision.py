"""Teaches the tower to see: its tokens become the words for what a picture shows.

The text model takes no part in this, so it is quick. First the tower learns to tell colours and
shapes apart, by the mean of its patches; then the connector learns to turn patches into the text
model's own embeddings of colour and shape, in turn. A model that reads such tokens reads
`` red circle red circle`` where the picture stands. Learnt at once, each waits for the other, and
most shapes are never told apart.

Patches begin whitened, by what pictures look like and not by what they are called: else nearly all
that the tower's norms let through is how bright a patch is, and shapes are in the faint rest.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import SmolVLMForConditionalGeneration, SmolVLMProcessor

from examples.vqa.model import IMAGE_TOKENS
from mmrlhf_jobs.models.processing import image_pixels

__all__ = ["pretrain_vision"]

_BATCH = 32
_SHARPNESS = 5.0
_LOOKED_AT = 1000
"""Pictures whose patches are whitened."""
_LEAST_VARIANCE = 1e-3
"""Of what is made as large as the rest; below are rounding and noise."""


def pretrain_vision(
    model: SmolVLMForConditionalGeneration,
    processor: SmolVLMProcessor,
    pictures: Sequence[tuple[bytes, tuple[str, str]]],
    *,
    seed: int,
    seeing: int,
    naming: int,
) -> float:
    """Trains tower and connector to turn pictures into words.

    Args:
        model: The model; its embeddings are the targets and stay as they are.
        processor: The model's processor.
        pictures: Each as PNG, with its colour and its shape.
        seed: Decides about the order.
        seeing: Passes over all pictures in which the tower learns.
        naming: Passes after them, in which the connector learns with it.

    Returns:
        Share of these pictures whose colour and shape are both the nearest words, in every token.
    """
    tower, connector = model.model.vision_model, model.model.connector
    pixels = torch.cat([_pixels(processor, content) for content, _ in pictures])
    names = sorted({word for _, words in pictures for word in words})
    vocabulary = model.get_input_embeddings().weight.detach()
    words = torch.stack(  # a word of several tokens is their mean
        [vocabulary[processor.tokenizer.encode(f" {name}")].mean(0) for name in names]
    )
    labels = torch.tensor([[names.index(word) for word in both] for _, both in pictures])
    unit = words.norm(dim=1).mean()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = nn.Linear(model.config.vision_config.hidden_size, 2 * len(names))

    def see(shown: Tensor, called: Tensor) -> tuple[Tensor, Tensor]:
        patches = tower(pixel_values=shown).last_hidden_state  # [B, patches, hidden]
        logits = classifier(patches.mean(1)).unflatten(-1, (2, -1))  # [B, 2, words]
        return patches, functional.cross_entropy(logits.flatten(0, 1), called.flatten())

    def name(patches: Tensor) -> Tensor:
        """How far each token is from each word: ``[B, 4, words]``."""
        apart: Tensor = ((connector(patches)[:, :, None] - words) / unit).square().sum(-1)
        return apart

    def loss_of_seeing(shown: Tensor, called: Tensor) -> Tensor:
        return see(shown, called)[1]

    def loss_of_naming(shown: Tensor, called: Tensor) -> Tensor:
        patches, unseen = see(shown, called)
        apart, wanted = name(patches), _in_turn(called)
        # Distances alone teach the mean of all words, long before one word from another.
        named = functional.cross_entropy(-_SHARPNESS * apart.flatten(0, 1), wanted.flatten())
        return unseen + named + apart.gather(-1, wanted[..., None]).mean()

    _whiten(tower.embeddings.patch_embedding, pixels[:_LOOKED_AT])
    generator = torch.Generator().manual_seed(seed)
    lesson = (pixels, labels, generator)
    seers = [*tower.parameters(), *classifier.parameters()]
    _train(seers, loss_of_seeing, *lesson, epochs=seeing, rate=2e-3)
    _train([*seers, *connector.parameters()], loss_of_naming, *lesson, epochs=naming, rate=1e-3)
    with torch.no_grad():
        nearest = [name(see(*batch)[0]).argmin(-1) for batch in _batches(pixels, labels)]
    return float((torch.cat(nearest) == _in_turn(labels)).all(1).float().mean())


def _in_turn(labels: Tensor) -> Tensor:
    """The word for each token of a picture, from its colour and its shape: ``[B, 4]``."""
    return labels.repeat(1, IMAGE_TOKENS // 2)


def _batches(pixels: Tensor, labels: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    return zip(pixels.split(_BATCH), labels.split(_BATCH), strict=True)


def _train(
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    epochs: int,
    rate: float,
) -> None:
    """Train on all pictures, turned and moved anew in every pass; the rate has one cycle."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05, fused=True)
    steps = epochs * -(-len(pixels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1
    )
    for _ in range(epochs):
        order = torch.randperm(len(pixels), generator=generator)
        for shown, called in _batches(pixels[order], labels[order]):
            way = int(torch.randint(8, (1,), generator=generator))
            loss_of(_shift(_turn(shown, way), generator), called).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def _pixels(processor: SmolVLMProcessor, content: bytes) -> Tensor:
    """Pixels ``[1, 3, H, W]`` of a picture: one image, without tiles."""
    with Image.open(io.BytesIO(content)) as image:
        return image_pixels(processor, [image.convert("RGB")])["pixel_values"][0]


@torch.no_grad()
def _whiten(layer: nn.Conv2d, pixels: Tensor) -> None:
    """Patches as their principal components, all of the same variance (PCA whitening).

    Args:
        layer: What embeds patches; where it is narrower than a patch, the largest components.
        pixels: Pictures ``[N, 3, H, W]``.
    """
    size = layer.kernel_size[0]
    patches = functional.unfold(pixels, size, stride=size).transpose(1, 2).flatten(0, 1)
    variances, components = torch.linalg.eigh(patches.T.cov())
    count = min(layer.out_channels, len(variances))
    scaled = (components / (variances + _LEAST_VARIANCE).sqrt()).T[-count:]
    layer.weight.zero_()[:count] = scaled.unflatten(1, (3, size, size))
    assert layer.bias is not None, "SigLIP's has one"
    layer.bias.zero_()[:count] = -scaled @ patches.mean(0)


def _shift(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture moved by up to a quarter of its side; what leaves it comes in on the other."""
    count, side = len(pixels), pixels.shape[-1]
    most = side // 4
    by = torch.randint(-most, most + 1, (2, count, 1), generator=generator)
    rows, columns = (torch.arange(side) + by) % side
    which = torch.arange(count)[:, None, None]
    return pixels[which, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def _turn(pixels: Tensor, way: int) -> Tensor:
    """Pictures turned by quarters and mirrored, in one of 8 ways: what they show stays the same."""
    turned = pixels.rot90(way % 4, dims=(-2, -1))
    return turned.flip(-1) if way >= 4 else turned

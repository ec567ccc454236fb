"""Pre-trains the eyes: the vision tower and the projector learn to name single digits.

Real models are made this way: SigLIP is trained on captions, then the projector is fitted to the
language model (LLaVA's first stage). Trained end to end at this size, the language model learns to
guess from the question long before it learns to look.
"""

from __future__ import annotations

from random import Random

import torch
from transformers import LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor

from examples.digits.drawing import draw_frames
from examples.digits.scans import ScanPool, load_scans
from mmrlhf_jobs.models.processing import frame_pixels

__all__ = ["pretrain_vision"]

_VIEWS = 4
"""Drawings of each scan: other sheets, pens and places in the cell."""


def pretrain_vision(
    model: LlavaOnevisionForConditionalGeneration,
    processor: LlavaOnevisionProcessor,
    pool: ScanPool,
    *,
    seed: int,
    epochs: int = 6,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
) -> float:
    """Trains tower and projector to turn every patch of a tile into the embedding of its digit.

    Args:
        model: The untrained model; its embeddings are the targets and stay as they are.
        processor: The model's processor.
        pool: Scans of the train split.
        seed: Decides about drawings and order.
        epochs: Passes over all drawings.
        batch_size: Tiles a step.
        learning_rate: Peak of a one-cycle schedule.

    Returns:
        Share of tiles whose digit is the nearest embedding, in the last epoch.
    """
    _, shown = load_scans()
    rng = Random(f"{seed}/vision")
    scans = [scan for scan in sorted(pool.scans) for _ in range(_VIEWS)]
    pixels = frame_pixels(processor, [draw_frames([scan], rng)[0] for scan in scans])[0]
    labels = torch.tensor([shown[scan] for scan in scans])
    words = torch.tensor([processor.tokenizer.encode(f" {digit}") for digit in range(10)])[:, 0]
    targets = model.get_input_embeddings().weight.detach()[words]
    unit = targets.norm(dim=1).mean()

    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    parameters = [*tower.parameters(), *projector.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.05)
    steps = epochs * -(-len(scans) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    right = 0
    for _ in range(epochs):
        right = 0
        for rows in torch.randperm(len(scans), generator=generator).split(batch_size):
            seen = tower(pixels[rows], output_hidden_states=True).hidden_states[-1]
            named = projector(seen)  # [B, patches, hidden]
            loss = ((named - targets[labels[rows], None]) / unit).square().sum(-1).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            nearest = torch.cdist(named.detach().mean(1), targets).argmin(1)
            right += int((nearest == labels[rows]).sum())
    return right / len(scans)

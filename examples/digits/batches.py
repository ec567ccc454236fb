"""Batches for the Hugging Face model's own forward pass, which supervision goes through.

Alignment scores four responses of a few queries with :mod:`mmrlhf_jobs.forward`; here every query
has one response, and rows of a plain batch are several times as fast.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

import torch
from torch import Tensor

from mmrlhf_jobs.models import EncodedGroup

__all__ = ["IGNORED", "Example", "collate", "shuffle_batches"]

Example = tuple[EncodedGroup, int]
"""A query and the position of the response that is trained on."""
IGNORED = -100
"""Label of places that are not trained on."""
_LONG = 80
"""Tokens from which a row goes to the batches of long rows: half of all places would be padding
otherwise. Finer sorting makes every batch a batch of one sort of question, which teaches worse."""


def shuffle_batches(
    examples: Sequence[Example], *, batch_size: int, rng: Random
) -> Iterator[list[Example]]:
    """Yields every example once, in batches of like media and roughly like length.

    Rows of a batch are all pictures or all videos of the same number of frames, because the model
    takes videos as one tensor.
    """
    buckets: dict[tuple[int, bool], list[Example]] = defaultdict(list)
    for example in rng.sample(examples, len(examples)):
        buckets[_frames(example[0]), _length(example) >= _LONG].append(example)
    batches = [
        rows[start : start + batch_size]
        for _, rows in sorted(buckets.items())
        for start in range(0, len(rows), batch_size)
    ]
    rng.shuffle(batches)
    yield from batches


def collate(examples: Sequence[Example], *, pad_id: int) -> dict[str, Tensor]:
    """Right-padded inputs of the forward pass, and labels ``[B, L]`` that only responses have."""
    length = max(map(_length, examples))
    ids = torch.full((len(examples), length), pad_id)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for row, (group, choice) in enumerate(examples):
        start, response = len(group.prompt_ids), group.responses[choice]
        end = start + len(response)
        ids[row, :start], ids[row, start:end] = group.prompt_ids, response
        labels[row, start:end] = response
        mask[row, :end] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    media = [group.media_inputs for group, _ in examples]
    if "pixel_values" not in media[0]:
        inputs["pixel_values_videos"] = torch.cat([m["pixel_values_videos.0"] for m in media])
        return inputs
    tiles = [m["pixel_values"][0] for m in media]
    inputs["pixel_values"] = torch.nn.utils.rnn.pad_sequence(tiles, batch_first=True)
    for name in ("image_sizes", "batch_num_images"):
        inputs[name] = torch.cat([m[name] for m in media])
    return inputs


def _frames(group: EncodedGroup) -> int:
    videos = group.media_inputs.get("pixel_values_videos.0")
    return 0 if videos is None else videos.shape[1]


def _length(example: Example) -> int:
    group, choice = example
    return len(group.prompt_ids) + len(group.responses[choice])

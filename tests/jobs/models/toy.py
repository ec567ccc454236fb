"""A family that the package does not know: Qwen2-VL's model under a name of the tests' own.

Its positions have three axes, and an image takes fewer of them than it has tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedModel,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
)

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.records import Media
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.families.base import (
    FamilyAdapter,
    GroupFeatures,
    Placeholder,
    ProcessedMedia,
)
from mmrlhf_jobs.models.processing import image_pixels, processor_without_video
from tests.jobs.models.tiny import SPECIAL, make_tokenizer

MODEL_TYPE = "toy_vlm"
PATCH, MERGE, SIDE = 7, 2, 56


class ToyConfig(Qwen2VLConfig):
    """Configuration of the toy."""

    model_type = MODEL_TYPE


class ToyModel(Qwen2VLForConditionalGeneration):
    """Model of the toy."""

    config_class = ToyConfig
    config: ToyConfig


class ToyFamily(FamilyAdapter):
    """Adapter of the toy: images only."""

    processor_class = "Qwen2VLProcessor"
    tower_names = frozenset({"visual"})

    def placeholders(self) -> Mapping[str, Placeholder]:
        token = self.processor.image_token
        return {"image": Placeholder(token, self.config.image_token_id, "image")}

    def process(self, media: Sequence[LoadedMedia]) -> ProcessedMedia:
        if not media:
            return ProcessedMedia({}, [])
        inputs = image_pixels(self.processor, [item.frames[0] for item in media])
        counts = inputs["image_grid_thw"].prod(-1) // MERGE**2
        return ProcessedMedia(inputs, counts.tolist())

    def most_media_tokens(self, media: Sequence[Media]) -> int:
        return len(media) * (SIDE // PATCH // MERGE) ** 2

    def prompt_positions(self, group: EncodedGroup) -> Tensor:
        """Text counts on; an image has the axes time, height, width from where it stands."""
        grids = iter(group.media_inputs.get("image_grid_thw", torch.zeros(0, 3)).tolist())
        ids, columns, at, place = group.prompt_ids.tolist(), [], 0, 0
        while at < len(ids):
            if ids[at] != self.config.image_token_id:
                columns.append(torch.full((3, 1), place))
                at, place = at + 1, place + 1
                continue
            sides = [int(side) for side in next(grids)]
            sides[1:] = [side // MERGE for side in sides[1:]]
            axes = torch.meshgrid(*map(torch.arange, sides), indexing="ij")
            columns.append(torch.stack([axis.flatten() for axis in axes]) + place)
            at, place = at + math.prod(sides), place + max(sides[1:])
        return torch.cat(columns, dim=1)

    def features(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> GroupFeatures | None:
        inputs = [group.media_inputs for group in groups if group.media_inputs]
        if not inputs:
            return None
        weight = next(model.model.visual.parameters())
        found = model.model.get_image_features(
            torch.cat([one["pixel_values"] for one in inputs]).to(weight.dtype),
            image_grid_thw=torch.cat([one["image_grid_thw"] for one in inputs]),
        )
        features = iter(found.pooler_output)
        return [
            [next(features) for _ in group.media_inputs.get("image_grid_thw", ())]
            for group in groups
        ]

    def idle_features(self, model: PreTrainedModel) -> Tensor:
        raise NotImplementedError


def save_toy(folder: Path, *, scale: float = 10.0) -> Path:
    """Write a whole model folder of the family."""
    ids = {token: index for index, token in enumerate(SPECIAL)}
    torch.manual_seed(0)
    model = ToyModel(
        ToyConfig(
            vision_config={
                "depth": 1,
                "embed_dim": 16,
                "hidden_size": 32,
                "num_heads": 2,
                "patch_size": PATCH,
            },
            text_config={
                "vocab_size": 320,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
                "bos_token_id": None,
                "eos_token_id": ids["<|im_end|>"],
                "pad_token_id": 0,
            },
            image_token_id=ids["<image>"],
            video_token_id=ids["<video>"],
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.save_pretrained(folder)
    processor_without_video(Qwen2VLProcessor)(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=PATCH,
            merge_size=MERGE,
            size={"shortest_edge": 28 * 28, "longest_edge": SIDE * SIDE},
        ),
        tokenizer=make_tokenizer(),
    ).save_pretrained(folder)
    return folder


def register_with_transformers() -> None:
    """Let transformers find the toy by its ``model_type``."""
    AutoConfig.register(MODEL_TYPE, ToyConfig, exist_ok=True)
    AutoModelForImageTextToText.register(ToyConfig, ToyModel, exist_ok=True)

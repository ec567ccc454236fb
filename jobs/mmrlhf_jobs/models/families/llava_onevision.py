"""LLaVA-OneVision: SigLIP tower, two-layer projector, Qwen2 decoder (arXiv 2408.03326).

Media tokens, as the Hugging Face model makes them:

- one image: base tile plus the tiles of the best resolution, unpadded, with a newline column
  ("anyres"), at most about ``max_9`` tiles by interpolation;
- several images: one padded tile each, plus one newline token;
- frames: every frame pooled to half the patches a side, one newline token at the end of the video.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import PreTrainedModel

from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.families.base import (
    FamilyAdapter,
    GroupFeatures,
    Placeholder,
    ProcessedMedia,
)
from mmrlhf_jobs.models.families.registry import register
from mmrlhf_jobs.models.processing import frame_pixels, image_pixels

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["LlavaOnevisionAdapter"]


@register("llava_onevision")
class LlavaOnevisionAdapter(FamilyAdapter):
    """Adapter of ``llava_onevision``."""

    processor_class = "LlavaOnevisionProcessor"
    projector_names = frozenset({"multi_modal_projector", "image_newline"})
    processor_settings = (
        "num_image_tokens",
        "vision_feature_select_strategy",
        "vision_aspect_ratio",
    )

    def placeholders(self) -> Mapping[str, Placeholder]:
        """Images, and videos as frames."""
        config, processor = self.config, self.processor
        return {
            "image": Placeholder(processor.image_token, config.image_token_id, "image"),
            "frames": Placeholder(processor.video_token, config.video_token_id, "video"),
        }

    def process(self, media: Sequence[LoadedMedia]) -> ProcessedMedia:
        """Images as tiles of one tensor, each video as a tensor of its own."""
        images = [item.frames[0] for item in media if item.kind == "image"]
        videos = [item.frames for item in media if item.kind == "frames"]
        inputs: dict[str, Tensor] = {}
        if images:
            inputs.update(image_pixels(self.processor, images))
        for index, frames in enumerate(videos):
            # One entry per video: their numbers of frames may differ.
            inputs[f"pixel_values_videos.{index}"] = frame_pixels(self.processor, frames)
        counts = {
            "image": iter([self._image_tokens(inputs, index) for index in range(len(images))]),
            "frames": iter([self._video_tokens(len(frames)) for frames in videos]),
        }
        return ProcessedMedia(inputs, [next(counts[item.kind]) for item in media])

    def most_media_tokens(self, media: Sequence[Media]) -> int:
        """One image takes most when its tiles fill the largest resolution."""
        videos = [len(item.files) for item in media if item.kind == "video"]
        images = len(media) - len(videos)
        alone = self._most_image_tokens() if images == 1 else 0
        several = images * (self.processor.num_image_tokens + 1) if images > 1 else 0
        return alone + several + sum(map(self._video_tokens, videos))

    def features(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> GroupFeatures | None:
        """Features of all images, or of the frames of all videos."""
        encode = _image_features if kind == "image" else _video_features
        return encode(model.model, groups)

    def media_of(self, kind: str, group: EncodedGroup) -> Mapping[str, Tensor]:
        """Tiles of the images, or the frames of the videos."""
        return {
            name: value
            for name, value in group.media_inputs.items()
            if name.startswith("pixel_values_videos.") == (kind == "frames")
        }

    def idle_features(self, model: PreTrainedModel) -> Tensor:
        """Features of an empty frame."""
        side = model.config.vision_config.image_size
        return _encode_frames(model.model, torch.zeros(1, 1, 3, side, side))

    def plain_inputs(
        self, model: PreTrainedModel, group: EncodedGroup, response: Tensor
    ) -> Mapping[str, Tensor] | None:
        """Ids, tiles, and all videos in one tensor; None if they differ in their frames."""
        videos = list(_videos(group))
        if len({video.shape for video in videos}) > 1:
            return None
        inputs = super().plain_inputs(model, group, response) or {}
        plain = {
            name: value
            for name, value in inputs.items()
            if not name.startswith("pixel_values_videos.")
        }
        return {**plain, "pixel_values_videos": torch.cat(videos)} if videos else plain

    def _image_tokens(self, inputs: dict[str, Tensor], index: int) -> int:
        # Only the processor knows how anyres tiles become tokens; it answers with a text.
        text = self.processor.replace_image_token(inputs, index)
        return len(text) // len(self.processor.image_token)

    def _most_image_tokens(self) -> int:
        """Base tile, and all tiles of the largest resolution without a border cut off.

        Above ``anyres_max`` tiles the processor scales down, but lets a tenth of a side pass.
        """
        tile = int(self.processor.num_image_tokens)
        heights, widths = zip(*self.processor.image_processor.image_grid_pinpoints, strict=True)
        pixels = int(self.config.vision_config.image_size)
        rows, columns = int(max(heights)) // pixels, int(max(widths)) // pixels
        most = int(self.processor.vision_aspect_ratio.removeprefix("anyres_max_"))
        tiles = min(rows * columns, 1.1**2 * most)
        return tile + math.ceil(tile * tiles) + math.isqrt(tile) * rows

    def _video_tokens(self, frames: int) -> int:
        side = math.isqrt(self.processor.num_image_tokens)
        return frames * math.ceil(side / 2) ** 2 + 1


def _image_features(
    backbone: PreTrainedModel, groups: Sequence[EncodedGroup]
) -> GroupFeatures | None:
    """Encode the images of all groups in one call."""
    inputs = [group.media_inputs for group in groups if "pixel_values" in group.media_inputs]
    if not inputs:
        return None
    tiles = max(entry["pixel_values"].shape[1] for entry in inputs)
    # Images of fewer tiles are filled up with empty ones, which the model cuts off again.
    pixels = [
        F.pad(value, (0, 0) * 3 + (0, tiles - value.shape[1]))
        for value in (entry["pixel_values"] for entry in inputs)
    ]
    output = backbone.get_image_features(
        pixel_values=_like_tower(backbone, torch.cat(pixels)),
        image_sizes=torch.cat([entry["image_sizes"] for entry in inputs]),
        batch_num_images=torch.cat([entry["batch_num_images"] for entry in inputs]),
    )
    features = iter(getattr(output, "pooler_output", output))
    return [
        list(islice(features, len(group.media_inputs.get("pixel_values", ())))) for group in groups
    ]


def _video_features(
    backbone: PreTrainedModel, groups: Sequence[EncodedGroup]
) -> GroupFeatures | None:
    """Encode the frames of all videos in one call, each frame as a video of its own.

    Frames know nothing of each other in this family, and videos may differ in length; only the
    newline token at the end is per video.
    """
    videos = [list(_videos(group)) for group in groups]
    frames = [video[0] for group in videos for video in group]
    if not frames:
        return None
    pooled = _encode_frames(backbone, torch.cat(frames)[:, None])
    newline = pooled[0, -1:]
    pieces = iter(pooled[:, :-1].split([len(video) for video in frames]))
    return [[torch.cat([next(pieces).flatten(0, 1), newline]) for _ in group] for group in videos]


def _encode_frames(backbone: PreTrainedModel, pixels: Tensor) -> Tensor:
    output = backbone.get_video_features(pixel_values_videos=_like_tower(backbone, pixels))
    return cast("Tensor", getattr(output, "pooler_output", output))


def _like_tower(backbone: PreTrainedModel, pixels: Tensor) -> Tensor:
    weight = next(backbone.vision_tower.parameters())
    return pixels.to(weight.device, weight.dtype)


def _videos(group: EncodedGroup) -> Iterator[Tensor]:
    index = 0
    while (pixels := group.media_inputs.get(f"pixel_values_videos.{index}")) is not None:
        yield pixels
        index += 1

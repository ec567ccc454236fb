"""LLaVA-OneVision: SigLIP tower, two-layer projector, Qwen2 decoder (arXiv 2408.03326).

Media tokens, as the Hugging Face model makes them:

- one image: base tile plus the tiles of the best resolution, unpadded, with a newline column
  ("anyres"), at most about ``max_9`` tiles by interpolation;
- several images: one padded tile each, plus one newline token;
- frames: every frame pooled to half the patches a side, one newline token at the end of the video.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, attention_name
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.adapter import EncodedGroup, TrainableParts
from mmrlhf_jobs.models.chat import ChatTemplate
from mmrlhf_jobs.models.processing import frame_pixels, image_pixels

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["LlavaOnevisionAdapter"]

# What decides about pixels; the rest of the image processor's config is bookkeeping.
_PIXEL_SETTINGS = (
    "crop_size",
    "default_to_square",
    "do_center_crop",
    "do_convert_rgb",
    "do_normalize",
    "do_pad",
    "do_rescale",
    "do_resize",
    "image_grid_pinpoints",
    "image_mean",
    "image_std",
    "resample",
    "rescale_factor",
    "size",
)


class LlavaOnevisionAdapter:
    """Adapter of ``llava_onevision``; see :class:`mmrlhf_jobs.models.adapter.VLMAdapter`.

    Args:
        config: The model's configuration.
        processor: The model's processor.

    Raises:
        ModelError: Tokenizer and model disagree about the media tokens.
    """

    processor_class = "LlavaOnevisionProcessor"

    def __init__(self, config: PretrainedConfig, processor: ProcessorMixin) -> None:
        self.config = config
        self.processor = processor
        self._media_ids = {"image": config.image_token_id, "frames": config.video_token_id}
        placeholders = {"image": processor.image_token, "frames": processor.video_token}
        for kind, token in placeholders.items():
            token_id = processor.tokenizer.convert_tokens_to_ids(token)
            if token_id != self._media_ids[kind]:
                raise ModelError(
                    f"the tokenizer gives {token!r} the id {token_id}, config.json says "
                    f"{self._media_ids[kind]}; tokenizer and model do not belong together"
                )
        self.chat = ChatTemplate(
            processor.tokenizer,
            placeholders=placeholders,
            part_types={"image": "image", "frames": "video"},
            chat_template=getattr(processor, "chat_template", None),
        )

    @property
    def supports_shared_prefix(self) -> bool:
        """True unless a layer has a sliding window or the attention takes no custom mask."""
        text = self.config.text_config
        full = all(kind == "full_attention" for kind in getattr(text, "layer_types", None) or ())
        return full and attention_name(text) in (SHARED_PREFIX_SDPA, "sdpa", "eager")

    def encode(
        self, question: str, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Tokenise a query and its responses, and process its media.

        Raises:
            DataError: A text holds a placeholder or the terminal token.
        """
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
        kinds = [item.kind for item in media]
        return EncodedGroup(
            prompt_ids=self.chat.prompt_ids(question, kinds, [next(counts[k]) for k in kinds]),
            responses=tuple(
                self.chat.response_ids(text, f"responses[{index}].text")
                for index, text in enumerate(responses)
            ),
            media_inputs=inputs,
        )

    def longest_prompt(self, question: str, media: Sequence[Media]) -> int:
        """Tokens that the prompt of a query has at most; see `VLMAdapter.longest_prompt`."""
        kinds = ["frames" if item.kind == "video" else "image" for item in media]
        bare = len(self.chat.prompt_ids(question, kinds, [1] * len(kinds))) - len(kinds)
        videos = [len(item.files) for item in media if item.kind == "video"]
        images = len(kinds) - len(videos)
        alone = self._most_image_tokens() if images == 1 else 0
        several = images * (self.processor.num_image_tokens + 1) if images > 1 else 0
        return bare + alone + several + sum(map(self._video_tokens, videos))

    def prompt_positions(self, group: EncodedGroup) -> Tensor:
        """Plain rotary positions, ``[1, P]``."""
        return torch.arange(len(group.prompt_ids))[None]

    def embed(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        groups: Sequence[EncodedGroup],
        copies: Sequence[int],
    ) -> Tensor:
        """Embed rows of tokens and put the media features in their places, ``[rows, L, H]``."""
        embeds = cast("Tensor", model.get_input_embeddings()(input_ids))
        for kind, encode in (("image", _image_features), ("frames", _video_features)):
            features = encode(model.model, groups)
            if features is None:
                if _is_sharded(model):
                    embeds = embeds + 0.0 * _idle_features(model).sum().to(embeds.dtype)
                features = [[] for _ in groups]
            # Row-major order of the rows: each group's features once per copy.
            repeated = [
                feature
                for group, rows in zip(features, copies, strict=True)
                for _ in range(rows)
                for feature in group
            ]
            places = input_ids == self._media_ids[kind]
            found = sum(map(len, repeated))
            if int(places.sum()) != found:
                raise ModelError(
                    f"{int(places.sum())} {kind} tokens in the prompts, {found} features from the "
                    "model: the processor's settings do not fit config.json"
                )
            if repeated:
                joined = torch.cat(repeated).to(embeds.dtype)
                embeds = embeds.masked_scatter(places[..., None], joined)
        return embeds

    def decoder(self, model: PreTrainedModel) -> nn.Module:
        """The Qwen2 decoder."""
        return cast("nn.Module", model.model.language_model)

    def output_layer(self, model: PreTrainedModel) -> nn.Linear:
        """The layer from hidden states to the vocabulary."""
        return cast("nn.Linear", model.get_output_embeddings())

    def freeze(self, model: PreTrainedModel, trainable: TrainableParts) -> None:
        """Set ``requires_grad`` by part; the newline embedding belongs to the projector."""
        for name, parameter in model.named_parameters():
            if ".vision_tower." in f".{name}":
                wanted = trainable.vision_tower
            elif "multi_modal_projector." in name or name.endswith("image_newline"):
                wanted = trainable.projector
            else:
                wanted = trainable.language_model
            parameter.requires_grad_(wanted)

    def template_digest(self) -> str:
        """Digest of chat template, special tokens and media placement."""
        return self.chat.digest()

    def image_settings(self) -> str:
        """Digest of the settings that decide about pixels and numbers of media tokens."""
        settings = self.processor.image_processor.to_dict()
        content = {name: settings.get(name) for name in _PIXEL_SETTINGS}
        for name in ("num_image_tokens", "vision_feature_select_strategy", "vision_aspect_ratio"):
            content[name] = getattr(self.processor, name)
        canonical = json.dumps(content, sort_keys=True, default=dict)
        return hashlib.sha256(canonical.encode()).hexdigest()

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


# The functions below return per group one tensor [tokens, H] for each of its media, or None if no
# group has media of the kind. A frozen tower builds no graph in them: neither its weights nor the
# pixels ask for gradients.


def _image_features(
    backbone: PreTrainedModel, groups: Sequence[EncodedGroup]
) -> list[list[Tensor]] | None:
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
) -> list[list[Tensor]] | None:
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


def _idle_features(model: PreTrainedModel) -> Tensor:
    """Run tower and projector on an empty frame.

    Under ZeRO-3 all processes must gather the same parameters in the same order, also where one
    has no media and the others do; without this they wait for each other for ever.
    """
    side = model.config.vision_config.image_size
    return _encode_frames(model.model, torch.zeros(1, 1, 3, side, side))


def _is_sharded(model: PreTrainedModel) -> bool:
    # DeepSpeed marks the parameters that it has split over processes.
    return hasattr(next(model.parameters()), "ds_id")


def _like_tower(backbone: PreTrainedModel, pixels: Tensor) -> Tensor:
    weight = next(backbone.vision_tower.parameters())
    return pixels.to(weight.device, weight.dtype)


def _videos(group: EncodedGroup) -> Iterator[Tensor]:
    index = 0
    while (pixels := group.media_inputs.get(f"pixel_values_videos.{index}")) is not None:
        yield pixels
        index += 1

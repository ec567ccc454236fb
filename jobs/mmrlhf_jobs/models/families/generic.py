"""Any vision-language model of transformers, by the interface that all of them have.

Media become pixels and texts by the processor's own call, features by ``get_image_features``,
positions by ``get_rope_index``; tower and decoder are found by ``get_encoder`` and ``get_decoder``.
What cannot be found out stands in :mod:`mmrlhf_jobs.models.families.rows`. The frames of a video
are images, one after the other.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    MODEL_MAPPING,
    Cache,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from mmrlhf_jobs.data.conversation import Asked, repeated
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.features.units import Run
from mmrlhf_jobs.models.adapter import DecoderInputs, EncodedGroup, TrainableParts
from mmrlhf_jobs.models.chat import ChatTemplate
from mmrlhf_jobs.models.families.base import (
    FamilyAdapter,
    GroupFeatures,
    Placeholder,
    ProcessedMedia,
)
from mmrlhf_jobs.models.families.rows import FamilyRow
from mmrlhf_jobs.models.families.tower import ImageFeatures, encode_images

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["GenericAdapter"]

# Of what a processor's configuration says, this does not decide about pixels or tokens.
_BOOKKEEPING = frozenset(
    {"chat_template", "image_processor_type", "processor_class", "tokenizer", "video_processor"}
)
# Sides of images in pixels, from a thumbnail to what every processor scales down.
_SIDES = (28, 56, 112, 224, 336, 448, 560, 672, 896, 1120, 1344, 1792, 2688, 4096)
_GRID = "image_grid_thw"
"""Rows and columns of an image's tokens, which positions of three axes are made of."""
_PROBES = ((1600, 1600), (1600, 400), (400, 1600))
"""Images (width, height) to try where a processor does not count tokens by itself."""


class GenericAdapter(FamilyAdapter):
    """Adapter of a family without a class of its own.

    Args:
        config: The model's configuration.
        processor: The model's processor.
        row: What cannot be found out.

    Raises:
        ModelError: Tokenizer and model disagree about the media tokens, or the model is of another
            make than the rules know.
    """

    def __init__(
        self, config: PretrainedConfig, processor: ProcessorMixin, *, row: FamilyRow
    ) -> None:
        self._row = row
        super().__init__(config, processor)
        self._check_processor()

    def make_chat(self) -> ChatTemplate:
        """Texts as token ids, as the processor's own ``apply_chat_template`` makes them."""
        image = self._placeholders["image"]
        return ChatTemplate(
            self.processor.tokenizer,
            placeholders={"image": image.text, "frames": image.text},
            part_types={"image": "image", "frames": "image"},
            chat_template=getattr(self.processor, "chat_template", None),
            reserved=[image.inserted] if image.inserted != image.text else [],
            as_stock=True,
        )

    @property
    def _image_id(self) -> int:
        return self._placeholders["image"].token_id

    def placeholders(self) -> Mapping[str, Placeholder]:
        """Images alone: what stands in a text for one, and the token that its features replace."""
        config, processor = self.config, self.processor
        token_id = getattr(config, "image_token_id", None)
        text = getattr(processor, "image_token", None)
        if not isinstance(token_id, int) or not isinstance(text, str):
            raise ModelError(
                f"models of type {config.model_type!r} have no image_token_id in config.json or no "
                "image_token in their processor, so their images cannot be put in place"
            )
        # Gemma's text has a token for the whole image, which becomes many of another one.
        inserted = getattr(processor.tokenizer, "image_token", None) or text
        if processor.tokenizer.convert_tokens_to_ids(text) == token_id:
            inserted = text
        return {"image": Placeholder(text, token_id, "image", inserted)}

    def process(self, media: Sequence[LoadedMedia]) -> ProcessedMedia:
        """Unused: `encode` asks the processor for pixels and texts at once."""
        raise NotImplementedError

    def encode(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Tokenise a query and its responses, and process its images and frames."""
        images = [frame for item in media for frame in item.frames]
        kinds = [item.kind for item in media for _ in item.frames]
        inputs, inserts = self._process(images)
        return EncodedGroup(
            prompt_ids=self.chat.prompt_ids_with(
                repeated(question, [len(item.frames) for item in media]), kinds, inserts
            ),
            responses=self.encode_responses(responses),
            media_inputs=inputs,
        )

    def longest_prompt(self, question: Asked, media: Sequence[Media]) -> int:
        """Tokens that the prompt of a query has at most; see `VLMAdapter.longest_prompt`."""
        kinds = [
            "frames" if item.kind == "video" else "image" for item in media for _ in item.files
        ]
        asked = repeated(question, [len(item.files) for item in media])
        bare = len(self.chat.prompt_ids(asked, kinds, [1] * len(kinds))) - len(kinds)
        return bare + self.most_media_tokens(media)

    def most_media_tokens(self, media: Sequence[Media]) -> int:
        """Images are taken to be as large as the processor makes any."""
        images = sum(len(item.files) for item in media)
        return images * self._most_image_tokens if images else 0

    def prompt_positions(self, group: EncodedGroup) -> Tensor:
        """Plain rotary positions, or those of three axes that the family's model finds."""
        ids = group.prompt_ids[None]
        if self._positions is None:
            return torch.arange(ids.shape[1])[None]
        kinds = (ids == self._image_id).int()
        if not group.media_inputs:
            return torch.arange(ids.shape[1]).expand(3, -1)
        grid = group.media_inputs[_GRID]
        found, _ = self._positions(ids, mm_token_type_ids=kinds, image_grid_thw=grid)
        return found[:, 0]

    def features(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> GroupFeatures | None:
        """Encode all images in one call; None if no group has any."""
        del kind
        encoded = self._encode(model, groups)
        return None if encoded is None else [[one] for one in encoded.by_group()]

    def idle_features(self, model: PreTrainedModel) -> Tensor:
        """Features of a small black image, as one number."""
        return encode_images(model, [self._blank], None).total()

    def embed(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        positions: Tensor,
        groups: Sequence[EncodedGroup],
        copies: Sequence[int],
        *,
        every_part: bool = False,
    ) -> DecoderInputs:
        """Embed rows of tokens and put the image features in their places."""
        text = self.embed_text(model, input_ids, positions)
        embeds = text.inputs_embeds
        places = input_ids == self._image_id
        encoded, spare = self._encode_all(model, groups, every_part=every_part)
        for one in spare:
            embeds = embeds + 0.0 * one.sum().to(embeds.dtype)
        rows = encoded.repeat(copies) if encoded else None
        found = len(rows.shallow) if rows else 0
        if int(places.sum()) != found:
            raise ModelError(
                f"{int(places.sum())} image tokens in the prompts, {found} features from the "
                "model: the processor's settings do not fit config.json"
            )
        extras: dict[str, Any] = {}
        if rows:
            joined = rows.shallow.to(embeds.dtype)
            embeds = embeds.masked_scatter(places[..., None], joined)
            if rows.deep:
                extras = {"visual_pos_masks": places, "deepstack_visual_embeds": rows.deep}
        media = places if self._row.images_see_each_other and rows else None
        return DecoderInputs(embeds, text.position_ids, extras, media)

    def embed_text(
        self, model: PreTrainedModel, input_ids: Tensor, positions: Tensor
    ) -> DecoderInputs:
        """Embed rows that hold no media. An image token may lie outside of the vocabulary."""
        embedding = model.get_input_embeddings()
        if self._image_id >= embedding.num_embeddings:
            input_ids = input_ids.masked_fill(input_ids == self._image_id, 0)
        return super().embed_text(model, input_ids, positions)

    def attention_mask(
        self, model: PreTrainedModel, inputs: DecoderInputs, used: Tensor, cache: Cache | None
    ) -> Tensor | dict[str, Tensor]:
        """The masks of the family's own model where the tokens of an image see each other."""
        if inputs.media is None:
            return used
        module = sys.modules[type(model).__module__]
        if not hasattr(module, "create_masks_for_vision_model"):
            raise ModelError(
                f"the table of families says that the tokens of an image see each other in models "
                f"of type {self.config.model_type!r}, but transformers makes no such mask for them"
            )
        return cast(
            "dict[str, Tensor]",
            module.create_masks_for_vision_model(
                config=self.decoder(model).config,
                inputs_embeds=inputs.inputs_embeds,
                attention_mask=used,
                past_key_values=cache,
                position_ids=inputs.position_ids,
                block_sequence_ids=module.get_block_sequence_ids_for_mask(
                    inputs.media.int(), device=used.device
                ),
            ),
        )

    @property
    def supports_shared_prefix(self) -> bool:
        """As for all; and not where the tokens of an image see those after them."""
        return super().supports_shared_prefix and not self._row.images_see_each_other

    def decoder(self, model: PreTrainedModel) -> nn.Module:
        """The language model without its output layer."""
        return cast("nn.Module", model.get_decoder())

    def freeze(self, model: PreTrainedModel, trainable: TrainableParts) -> None:
        """Set ``requires_grad`` by part; what is neither tower nor decoder is the projector.

        Raises:
            ModelError: The tower cannot be told from the rest, or the table names a projector that
                the model does not have.
        """
        if trainable.vision_tower == trainable.projector == trainable.language_model:
            model.requires_grad_(trainable.language_model)
            return
        tower = model.get_encoder(modality="image")
        if tower is model or tower is model.base_model:
            raise ModelError(
                f"the vision encoder of {type(model).__name__} has no name that is known, so it "
                "cannot be told from the rest and be frozen; train all parts (spec.trainable), or "
                "take another family"
            )
        named = [f".{path}." for path in self._row.projector]
        projected = {
            name for name, _ in model.named_parameters() if any(one in f".{name}" for one in named)
        }
        if named and not projected:
            raise ModelError(
                f"{type(model).__name__} has none of the modules {', '.join(self._row.projector)} "
                "that the table of families calls its projector"
            )
        in_tower = {id(one) for one in tower.parameters()}
        written = (self.decoder(model), model.get_input_embeddings(), model.get_output_embeddings())
        in_decoder = {id(one) for part in written for one in part.parameters()}
        for name, parameter in model.named_parameters():
            if name in projected:
                wanted = trainable.projector
            elif id(parameter) in in_tower:
                wanted = trainable.vision_tower
            elif id(parameter) in in_decoder:
                wanted = trainable.language_model
            else:
                wanted = trainable.projector
            parameter.requires_grad_(wanted)

    def image_settings(self) -> str:
        """Digest of all that the processor's configuration says of pixels and image tokens."""
        own = {
            name: value
            for name, value in vars(self.processor).items()
            if isinstance(value, str | int | float | bool | list | None)
        }
        content = [
            {name: value for name, value in settings.items() if name not in _BOOKKEEPING}
            for settings in (self.processor.image_processor.to_dict(), own)
        ]
        canonical = json.dumps(content, sort_keys=True, default=dict)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def media_of(self, kind: str, group: EncodedGroup) -> Mapping[str, Tensor]:
        """All tensors of a query."""
        del kind
        return group.media_inputs

    def few_features(self, model: PreTrainedModel, kind: str, group: EncodedGroup) -> Run:
        """What makes the features of one query, those for deeper layers included."""
        del kind

        def run() -> list[Tensor]:
            found = self._encode(model, [group])
            return [found.shallow, *found.deep] if found else []

        return run

    def _encode_all(
        self, model: PreTrainedModel, groups: Sequence[EncodedGroup], *, every_part: bool
    ) -> tuple[ImageFeatures | None, list[Tensor]]:
        """Features of all images, and more that only have to be made."""
        kept = self.kept_features(model, "image", groups, every_part=every_part)
        if kept is not None:
            found, spare = kept
            return ImageFeatures.join(found), spare
        encoded = self._encode(model, groups)
        idle = encoded is None and every_part
        return encoded, [self.idle_features(model)] if idle else []

    def _encode(
        self, model: PreTrainedModel, groups: Sequence[EncodedGroup]
    ) -> ImageFeatures | None:
        inputs = [group.media_inputs for group in groups if group.media_inputs]
        if not inputs:
            return None
        counts = [int((group.prompt_ids == self._image_id).sum()) for group in groups]
        return encode_images(model, inputs, counts)

    def _process(self, images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        """Tensors for the model, and per image the text that stands for it."""
        if not images:
            return {}, []
        processor = self.processor
        # One nested sample: several images may be cut up otherwise than one alone.
        batch = processor(
            images=[list(images)],
            text=[" ".join([processor.image_token] * len(images))],
            return_tensors="pt",
            return_text_replacement_offsets=True,
            return_mm_token_type_ids=False,
            # Nothing is cut off, whatever the tokenizer's settings say.
            truncation=False,
            padding=False,
        )
        inserts = [entry["replacement"] for entry in batch.pop("text_replacement_offsets")[0]]
        inputs = {
            name: torch.as_tensor(value)
            for name, value in batch.items()
            if name in self._tower_arguments
        }
        return inputs, inserts

    def _check_processor(self) -> None:
        """Try the processor on an image, before anything else is done.

        Raises:
            ModelError: It fails, or does not make what the model asks for.
        """
        name = type(self.processor).__name__
        try:
            made = self._blank
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"the processor {name} fails on an image: {type(error).__name__}: {error}; see "
                "processor_class and image_processor_type in the model folder"
            ) from error
        if self._positions is not None and _GRID not in made:
            raise ModelError(
                f"models of type {self.config.model_type!r} place an image by the grid of its "
                f"tokens, and the processor {name} makes no {_GRID}; take the processor that "
                "belongs to the model"
            )

    @cached_property
    def _backbone_class(self) -> type[PreTrainedModel]:
        """Class of the model without its output layer, which has the methods of the family."""
        found = MODEL_MAPPING.get(type(self.config), None)
        if found is None or not hasattr(found, "get_image_features"):
            raise ModelError(
                f"models of type {self.config.model_type!r} have no get_image_features as those of "
                "transformers have, so the features of their images cannot be made"
            )
        return cast("type[PreTrainedModel]", found)

    @cached_property
    def _tower_arguments(self) -> frozenset[str]:
        parameters = inspect.signature(self._backbone_class.get_image_features).parameters
        return frozenset(parameters) - {"self", "kwargs"}

    @cached_property
    def _positions(self) -> Callable[..., tuple[Tensor, Tensor]] | None:
        """``get_rope_index`` of the family's model, which reads nothing of it but the settings."""
        if not hasattr(self._backbone_class, "get_rope_index"):
            return None
        bare = object.__new__(self._backbone_class)
        bare.__dict__["config"] = self.config
        return cast("Callable[..., tuple[Tensor, Tensor]]", bare.get_rope_index)

    @cached_property
    def _blank(self) -> dict[str, Tensor]:
        return self._process([Image.new("RGB", (_SIDES[1], _SIDES[1]))])[0]

    @cached_property
    def _most_image_tokens(self) -> int:
        """Tokens of the largest image; the processor counts them, or some are tried."""

        def count(width: int, height: int) -> int:
            _, (insert,) = self._process([Image.new("RGB", (width, height))])
            return len(self.chat.tokenizer(insert, add_special_tokens=False)["input_ids"])

        pinpoints = getattr(self.processor.image_processor, "image_grid_pinpoints", None) or ()
        sides = sorted({*_SIDES, *(int(side) for pair in pinpoints for side in pair)})
        try:
            sizes = [(height, width) for height in sides for width in sides]
            counts = self.processor._get_num_multimodal_tokens(image_sizes=sizes)  # noqa: SLF001
            numbers = [int(number) for number in counts["num_image_tokens"]]
        except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError):
            return max(count(*probe) for probe in (*_PROBES, *self._tiled_probes()))
        # Some count the image alone, without what is written around it.
        around = count(sides[0], sides[0]) - numbers[0]
        return max(numbers) + max(around, 0)

    def _tiled_probes(self) -> list[tuple[int, int]]:
        """Images of the most tiles, where a processor cuts images into tiles of one side."""
        settings = self.processor.image_processor.to_dict()
        most, side = settings.get("max_tiles") or 0, settings.get("tile_size") or 0
        shapes = [(one, most // one) for one in range(1, most + 1) if most % one == 0]
        return [(side * columns, side * rows) for columns, rows in shapes]

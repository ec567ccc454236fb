"""What families of vision-language models share: everything but media.

A family says how its media become pixels, tokens and features, and what its parts are called;
digests, placement in rows, freezing and the pass for processes without media are here.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, cast

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import Cache, PretrainedConfig, PreTrainedModel, ProcessorMixin

from mmrlhf_jobs.attention.backends import shared_prefix_backend
from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.features.tower import FrozenTower, MediaInputs
from mmrlhf_jobs.features.units import Run
from mmrlhf_jobs.models.adapter import DecoderInputs, EncodedGroup, TrainableParts
from mmrlhf_jobs.models.chat import ChatTemplate
from mmrlhf_jobs.models.families.rows import find_row

if TYPE_CHECKING:
    from mmrlhf_jobs.data.records import Media

__all__ = ["FamilyAdapter", "GroupFeatures", "Placeholder", "ProcessedMedia"]

GroupFeatures: TypeAlias = list[list[Tensor]]
"""Per group one tensor ``[tokens, H]`` for each of its media of one kind."""

_BLANK_SIDE: Final = 56
"""Side in pixels of an image that shows nothing."""

_STATE_TYPES: Final = ("linear_attention", "conv")
"""Types of layers that carry a state, as configurations call them."""

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


@dataclass(frozen=True)
class Placeholder:
    """The token that stands for a kind of media in a text.

    Attributes:
        text: The token.
        token_id: Its id, as the model's configuration tells it.
        part_type: ``type`` of the content part for chat templates that take parts.
        inserted: The token that the features of a medium replace, where the processor puts another
            one than ``text`` into the prompt.
    """

    text: str
    token_id: int
    part_type: str
    inserted: str = ""


@dataclass(frozen=True)
class ProcessedMedia:
    """Media of one query.

    Attributes:
        inputs: Tensors for the model, such as ``pixel_values``.
        tokens: Per medium the number of places that it takes in the prompt.
    """

    inputs: dict[str, Tensor]
    tokens: list[int]


class FamilyAdapter(ABC):
    """Base of a family's adapter; see :class:`mmrlhf_jobs.models.adapter.VLMAdapter`.

    Args:
        config: The model's configuration.
        processor: The model's processor.

    Attributes:
        frozen_tower: Keeps what the vision tower makes of media, while it is frozen; None: it runs
            for all media of a batch in one call.

    Raises:
        ModelError: Tokenizer and model disagree about the media tokens.
    """

    processor_class: ClassVar[str] = ""
    """Name of the processor's class in ``transformers``."""
    tower_names: ClassVar[frozenset[str]] = frozenset({"vision_tower"})
    """Names of modules and weights of the vision encoder."""
    projector_names: ClassVar[frozenset[str]] = frozenset({"multi_modal_projector"})
    """Names of modules and weights between the vision encoder and the decoder."""
    processor_settings: ClassVar[tuple[str, ...]] = ()
    """Attributes of the processor that decide about pixels and numbers of media tokens."""

    def __init__(self, config: PretrainedConfig, processor: ProcessorMixin) -> None:
        self.config = config
        self.processor = processor
        self._placeholders = self.placeholders()
        for placeholder in self._placeholders.values():
            token = placeholder.inserted or placeholder.text
            token_id = processor.tokenizer.convert_tokens_to_ids(token)
            if token_id != placeholder.token_id:
                raise ModelError(
                    f"the tokenizer gives {token!r} the id {token_id}, config.json says "
                    f"{placeholder.token_id}; tokenizer and model do not belong together"
                )
        self.chat = self.make_chat()
        self.frozen_tower: FrozenTower | None = None
        self._blank_groups: dict[str, EncodedGroup] = {}

    # What a family tells.

    @abstractmethod
    def placeholders(self) -> Mapping[str, Placeholder]:
        """Kind of medium (``image``, ``frames``) -> its placeholder, in the order of encoding."""

    @abstractmethod
    def process(self, media: Sequence[LoadedMedia]) -> ProcessedMedia:
        """Turn the media of a query into tensors."""

    @abstractmethod
    def most_media_tokens(self, media: Sequence[Media]) -> int:
        """Places that the media of a query take at most, whatever the sizes of its images."""

    @abstractmethod
    def features(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> GroupFeatures | None:
        """Encode all media of one kind in one call; None if no group has any.

        A frozen tower builds no graph: neither its weights nor the pixels ask for gradients.
        """

    @abstractmethod
    def idle_features(self, model: PreTrainedModel) -> Tensor:
        """Run tower and projector on something empty."""

    # What follows from it.

    def make_chat(self) -> ChatTemplate:
        """Texts as token ids, by the tokenizer's template."""
        return ChatTemplate(
            self.processor.tokenizer,
            placeholders={kind: one.text for kind, one in self._placeholders.items()},
            part_types={kind: one.part_type for kind, one in self._placeholders.items()},
            chat_template=getattr(self.processor, "chat_template", None),
        )

    @property
    def supports_shared_prefix(self) -> bool:
        """True unless a layer has a sliding window or the attention takes no custom mask."""
        text = self.config.get_text_config()
        known = {"full_attention", *(_STATE_TYPES if self.state_layer else ())}
        types = getattr(text, "layer_types", None)
        if not types and getattr(text, "sliding_window", None) is not None:
            types = ("sliding_attention",)  # of all layers, as in Mistral and Phi-3
        fit = known.issuperset(types or ())
        return fit and shared_prefix_backend(text) is not None

    @property
    def state_layer(self) -> str:
        """As the table says of the decoder; none with a transformers older than the table's."""
        row = find_row(str(self.config.get_text_config().model_type))
        return row.state_layer if row and row.holds_for(transformers.__version__) else ""

    def encode(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Tokenise a query and its responses, and process its media.

        Raises:
            DataError: A text holds a placeholder or the terminal token.
        """
        processed = self.process(media)
        kinds = [item.kind for item in media]
        return EncodedGroup(
            prompt_ids=self.chat.prompt_ids(question, kinds, processed.tokens),
            responses=self.encode_responses(responses),
            media_inputs=processed.inputs,
        )

    def encode_responses(self, responses: Sequence[str]) -> tuple[Tensor, ...]:
        """Token ids of each response, ``[R_i]``.

        Raises:
            DataError: A text holds a placeholder or the terminal token.
        """
        return tuple(
            self.chat.response_ids(text, f"responses[{index}].text")
            for index, text in enumerate(responses)
        )

    def longest_prompt(self, question: Asked, media: Sequence[Media]) -> int:
        """Tokens that the prompt of a query has at most; see `VLMAdapter.longest_prompt`."""
        kinds = ["frames" if item.kind == "video" else "image" for item in media]
        bare = len(self.chat.prompt_ids(question, kinds, [1] * len(kinds))) - len(kinds)
        return bare + self.most_media_tokens(media)

    def prompt_positions(self, group: EncodedGroup) -> Tensor:
        """Plain rotary positions, ``[1, P]``."""
        return torch.arange(len(group.prompt_ids))[None]

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
        """Embed rows of tokens and put the media features in their places."""
        text = self.embed_text(model, input_ids, positions)
        embeds = text.inputs_embeds
        for kind, placeholder in self._placeholders.items():
            features, spare = self._all_features(model, kind, groups, every_part=every_part)
            for one in spare:
                embeds = embeds + 0.0 * one.sum().to(embeds.dtype)
            # Row-major order of the rows: each group's features once per copy.
            repeated = [
                feature
                for group, rows in zip(features, copies, strict=True)
                for _ in range(rows)
                for feature in group
            ]
            places = input_ids == placeholder.token_id
            found = sum(map(len, repeated))
            if int(places.sum()) != found:
                raise ModelError(
                    f"{int(places.sum())} {kind} tokens in the prompts, {found} features from the "
                    "model: the processor's settings do not fit config.json"
                )
            if repeated:
                joined = torch.cat(repeated).to(embeds.dtype)
                embeds = embeds.masked_scatter(places[..., None], joined)
        return DecoderInputs(embeds, text.position_ids, text.extras)

    def media_of(self, kind: str, group: EncodedGroup) -> Mapping[str, Tensor]:
        """Tensors of a query that features of one kind are made of; empty if there are none."""
        there = bool((group.prompt_ids == self._placeholders[kind].token_id).any())
        return group.media_inputs if there else {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of media that have features of their own."""
        return tuple(self._placeholders)

    def blank_run(self, model: PreTrainedModel, kind: str) -> Run:
        """What makes the features of a small black image, or of a video of one such frame."""
        if kind not in self._blank_groups:
            frames = (Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE)),)
            self._blank_groups[kind] = self.encode(
                "blank", [LoadedMedia("image" if kind == "image" else "frames", frames)], []
            )
        return self.few_features(model, kind, self._blank_groups[kind])

    def few_features(self, model: PreTrainedModel, kind: str, group: EncodedGroup) -> Run:
        """What makes the features of one kind of one query; see `FrozenTower`."""

        def run() -> list[Tensor]:
            found = self.features(model, kind, [group])
            return found[0] if found else []

        return run

    def media_inputs(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> list[MediaInputs]:
        """Per query that has media of a kind, what is needed to make their features."""
        found = [(self.media_of(kind, group), group) for group in groups]
        return [
            MediaInputs(tensors, self.few_features(model, kind, group))
            for tensors, group in found
            if tensors
        ]

    def kept_features(
        self,
        model: PreTrainedModel,
        kind: str,
        groups: Sequence[EncodedGroup],
        *,
        every_part: bool,
    ) -> tuple[list[list[Tensor] | None], list[Tensor]] | None:
        """Features by a frozen tower that keeps them; None where there is none.

        Returns:
            Per query what `few_features` makes, None without media of the kind; and features of
            blank media, which only have to be made.
        """
        if self.frozen_tower is None or not self.frozen_tower.is_frozen:
            return None
        media = self.media_inputs(model, kind, groups)
        blank = self.blank_run(model, kind) if every_part else None
        made, spare = self.frozen_tower.encode(kind, media, blank=blank)
        queue = iter(made)
        return [next(queue) if self.media_of(kind, one) else None for one in groups], spare

    def _all_features(
        self,
        model: PreTrainedModel,
        kind: str,
        groups: Sequence[EncodedGroup],
        *,
        every_part: bool,
    ) -> tuple[GroupFeatures, list[Tensor]]:
        """Features of all media of one kind, and more that only have to be made."""
        kept = self.kept_features(model, kind, groups, every_part=every_part)
        if kept is not None:
            found, spare = kept
            return [one or [] for one in found], spare
        features = self.features(model, kind, groups)
        if features is not None:
            return features, []
        return [[] for _ in groups], [self.idle_features(model)] if every_part else []

    def embed_text(
        self, model: PreTrainedModel, input_ids: Tensor, positions: Tensor
    ) -> DecoderInputs:
        """Embed rows that hold no media."""
        return DecoderInputs(
            inputs_embeds=cast("Tensor", model.get_input_embeddings()(input_ids)),
            position_ids=positions[0] if len(positions) == 1 else positions,
        )

    def attention_mask(
        self, model: PreTrainedModel, inputs: DecoderInputs, used: Tensor, cache: Cache | None
    ) -> Tensor | dict[str, Tensor]:
        """The places in use; decoders make a causal mask of them."""
        del model, inputs, cache
        return used

    def plain_inputs(
        self, model: PreTrainedModel, group: EncodedGroup, response: Tensor
    ) -> Mapping[str, Tensor] | None:
        """Ids, pixels, and the kinds of tokens where the model's forward pass asks for them."""
        ids = torch.cat([group.prompt_ids, response])[None]
        kinds = torch.zeros_like(ids)
        for number, placeholder in enumerate(self._placeholders.values(), start=1):
            kinds[ids == placeholder.token_id] = number
        accepted = inspect.signature(model.base_model.forward).parameters
        names = [name for name in ("mm_token_type_ids", "token_type_ids") if name in accepted]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            **group.media_inputs,
            **dict.fromkeys(names, kinds),
        }

    def decoder(self, model: PreTrainedModel) -> nn.Module:
        """The language model without its output layer."""
        return cast("nn.Module", model.model.language_model)

    def output_layer(self, model: PreTrainedModel) -> nn.Linear:
        """The layer from hidden states to the vocabulary."""
        return cast("nn.Linear", model.get_output_embeddings())

    def freeze(self, model: PreTrainedModel, trainable: TrainableParts) -> None:
        """Set ``requires_grad`` by part; what is neither tower nor projector is the decoder."""
        for name, parameter in model.named_parameters():
            names = set(name.split("."))
            if names & self.tower_names:
                wanted = trainable.vision_tower
            elif names & self.projector_names:
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
        for name in self.processor_settings:
            content[name] = getattr(self.processor, name)
        canonical = json.dumps(content, sort_keys=True, default=dict)
        return hashlib.sha256(canonical.encode()).hexdigest()

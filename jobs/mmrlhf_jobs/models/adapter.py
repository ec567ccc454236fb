"""What training, scoring and generation ask of a model family.

Everything that differs between families (processors, placeholders, positions, module names) stays
behind :class:`VLMAdapter`; the forward pass and the objectives know only this interface. Families
share most of it: :mod:`mmrlhf_jobs.models.families.base`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn
from transformers import Cache, PreTrainedModel, ProcessorMixin

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.models.chat import ChatTemplate

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["DecoderInputs", "EncodedGroup", "LoadedModel", "TrainableParts", "VLMAdapter"]


@dataclass(frozen=True)
class EncodedGroup:
    """One query with its responses, as token ids and pixels.

    Attributes:
        prompt_ids: ``[P]`` int64; media placeholders are expanded to one id per media token.
        responses: Per response ``[R_i]`` int64; each ends with the template's terminal token.
        media_inputs: Tensors of the processor for this query's media; empty without media.
        given: Per response the number of tokens at its start that are read and not predicted;
            empty if all of every response are predicted.
    """

    prompt_ids: Tensor
    responses: tuple[Tensor, ...]
    media_inputs: dict[str, Tensor]
    given: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and of all responses."""
        return len(self.prompt_ids) + sum(map(len, self.responses))

    @property
    def predicted(self) -> tuple[int, ...]:
        """Per response the number of tokens that are predicted."""
        given = self.given or (0,) * len(self.responses)
        return tuple(len(one) - skip for one, skip in zip(self.responses, given, strict=True))


@dataclass(frozen=True)
class DecoderInputs:
    """What a family's decoder reads of rows of tokens.

    Attributes:
        inputs_embeds: ``[rows, L, H]`` with the media features in their places.
        position_ids: ``[rows, L]`` for plain rotary models, ``[A, rows, L]`` for multimodal ones.
        extras: Further keyword arguments of the decoder, such as token types or features that
            deeper layers add.
        media: ``[rows, L]``, True at tokens of media, for families whose media tokens see each
            other (see `VLMAdapter.attention_mask`); else None.
    """

    inputs_embeds: Tensor
    position_ids: Tensor
    extras: Mapping[str, Any] = field(default_factory=dict)
    media: Tensor | None = None

    def keywords(self) -> dict[str, Any]:
        """Keyword arguments of the decoder."""
        return {
            **self.extras,
            "inputs_embeds": self.inputs_embeds,
            "position_ids": self.position_ids,
        }


class TrainableParts(Protocol):
    """Which parts of a model are trained; ``Trainable`` of the job API fits."""

    @property
    def vision_tower(self) -> bool:
        """Train the vision encoder."""

    @property
    def projector(self) -> bool:
        """Train the projection from vision features to embeddings."""

    @property
    def language_model(self) -> bool:
        """Train the decoder and its output layer."""


class VLMAdapter(Protocol):
    """One family of vision-language models."""

    @property
    def chat(self) -> ChatTemplate:
        """Texts as token ids."""

    @property
    def supports_shared_prefix(self) -> bool:
        """Whether responses can share one prompt in a row, given the attention in use."""

    @property
    def state_layer(self) -> str:
        """Class of the decoder's layers that carry a state from token to token; empty if none."""

    def encode(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Tokenise a query and its responses, and process its media.

        Raises:
            DataError: A text holds a placeholder or a terminal token of the template.
        """

    def longest_prompt(self, question: Asked, media: Sequence[Media]) -> int:
        """Tokens that the prompt of a query has at most, whatever the sizes of its images.

        No medium is opened, so this can be asked of a whole data set.

        Raises:
            DataError: The question holds the terminal token.
        """

    def prompt_positions(self, group: EncodedGroup) -> Tensor:
        """Positions of the prompt, ``[A, P]``: A = 1 for plain rotary, 3 for multimodal rotary."""

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
        """Embed rows of tokens and put the media features in their places.

        Media are encoded once per group, whatever ``copies`` is.

        Args:
            model: The model.
            input_ids: ``[rows, L]``; the prompt of ``groups[g]`` stands ``copies[g]`` times in
                them, read row by row, before those of the next group.
            positions: ``[A, rows, L]``, made of :meth:`prompt_positions`.
            groups: Groups in the order of the rows.
            copies: Per group how often its prompt is there.
            every_part: Run tower and projector also where no group has media: processes that
                gather weights or sum gradients together must all do so, in the same order.

        Raises:
            ModelError: The media have another number of features than places in the rows.
        """

    def embed_text(
        self, model: PreTrainedModel, input_ids: Tensor, positions: Tensor
    ) -> DecoderInputs:
        """Embed rows that hold no media, such as the next token of each; as :meth:`embed`."""

    def attention_mask(
        self, model: PreTrainedModel, inputs: DecoderInputs, used: Tensor, cache: Cache | None
    ) -> Tensor | dict[str, Tensor]:
        """What the decoder takes as ``attention_mask`` for rows of one response.

        Args:
            model: The model.
            inputs: The rows, or their next tokens.
            used: ``[rows, K]``, 1 at tokens and 0 at padding, of the cache and of the rows.
            cache: Keys and values of what was read before.
        """

    def plain_inputs(
        self, model: PreTrainedModel, group: EncodedGroup, response: Tensor
    ) -> Mapping[str, Tensor] | None:
        """What the model's own forward pass takes for a prompt and one response.

        As the family's processor makes it, and not by what the adapter knows: the proof before the
        first step compares the two. None if one pass cannot take the media.
        """

    def decoder(self, model: PreTrainedModel) -> nn.Module:
        """The language model without its output layer."""

    def output_layer(self, model: PreTrainedModel) -> nn.Linear:
        """The linear layer from hidden states to the vocabulary."""

    def freeze(self, model: PreTrainedModel, trainable: TrainableParts) -> None:
        """Set ``requires_grad`` of every parameter by the part it belongs to."""

    def template_digest(self) -> str:
        """Digest of everything that turns texts into tokens."""

    def image_settings(self) -> str:
        """Digest of everything that turns images and frames into pixels and media tokens."""


@dataclass(frozen=True)
class LoadedModel:
    """A model, its processor and the adapter of its family."""

    model: PreTrainedModel
    processor: ProcessorMixin
    adapter: VLMAdapter

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model was made for, its positions."""
        return int(self.model.config.get_text_config().max_position_embeddings)

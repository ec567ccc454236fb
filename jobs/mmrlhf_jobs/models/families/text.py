"""Models that read text alone, such as Qwen3 and Llama."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import EncodedGroup, TrainableParts
from mmrlhf_jobs.models.chat import ChatTemplate
from mmrlhf_jobs.models.families.base import (
    FamilyAdapter,
    GroupFeatures,
    Placeholder,
    ProcessedMedia,
)

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["TextAdapter"]


class TextAdapter(FamilyAdapter):
    """Adapter of any causal language model of transformers; rows with media are refused."""

    def placeholders(self) -> Mapping[str, Placeholder]:
        """None."""
        return {}

    def make_chat(self) -> ChatTemplate:
        """Texts as token ids, as the tokenizer's own ``apply_chat_template`` makes them."""
        return ChatTemplate(self.processor.tokenizer, placeholders={}, part_types={}, as_stock=True)

    def process(self, media: Sequence[LoadedMedia]) -> ProcessedMedia:
        """Nothing.

        Raises:
            DataError: There are media.
        """
        _refuse(media)
        return ProcessedMedia({}, [])

    def longest_prompt(self, question: Asked, media: Sequence[Media]) -> int:
        """Tokens of the prompt.

        Raises:
            DataError: There are media.
        """
        _refuse(media)
        return len(self.chat.prompt_ids(question, [], []))

    def most_media_tokens(self, media: Sequence[Media]) -> int:
        """None."""
        del media
        return 0

    def features(
        self, model: PreTrainedModel, kind: str, groups: Sequence[EncodedGroup]
    ) -> GroupFeatures | None:
        """None."""
        del model, kind, groups
        return None

    def idle_features(self, model: PreTrainedModel) -> Tensor:
        """Nothing to run."""
        del model
        return torch.zeros(())

    def decoder(self, model: PreTrainedModel) -> nn.Module:
        """The model without its output layer."""
        return cast("nn.Module", model.get_decoder())

    def freeze(self, model: PreTrainedModel, trainable: TrainableParts) -> None:
        """Set ``requires_grad`` of all weights: all are the decoder."""
        model.requires_grad_(trainable.language_model)

    def image_settings(self) -> str:
        """Digest of nothing."""
        return hashlib.sha256(b"text").hexdigest()


def _refuse(media: Sequence[object]) -> None:
    if media:
        raise DataError(
            "the row has media, but the model reads text alone; take a vision-language model, or "
            "leave such rows out",
            field="media",
        )

"""What the training code asks of a model family, and how a model is loaded.

A family is chosen by ``model_type`` of the model's ``config.json``. Everything that differs between
families (processors, placeholders, positions, module names) stays behind :class:`VLMAdapter`; the
forward pass and the objectives know only this interface.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.chat import ChatTemplate
from mmrlhf_jobs.models.processing import load_processor

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = [
    "EncodedGroup",
    "LoadedModel",
    "TrainableParts",
    "VLMAdapter",
    "load_model",
    "supported_model_types",
]

# model_type -> (module, class); modules are imported on use.
_ADAPTERS = {
    "llava_onevision": ("mmrlhf_jobs.models.families.llava_onevision", "LlavaOnevisionAdapter"),
}

_WEIGHT_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]


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

    def encode(
        self, question: str, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Tokenise a query and its responses, and process its media.

        Raises:
            DataError: A text holds a placeholder or a terminal token of the template.
        """

    def longest_prompt(self, question: str, media: Sequence[Media]) -> int:
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
        groups: Sequence[EncodedGroup],
        copies: Sequence[int],
    ) -> Tensor:
        """Embed rows of tokens and put the media features in their places.

        Media are encoded once per group, whatever ``copies`` is.

        Args:
            model: The model.
            input_ids: ``[rows, L]``; ``copies[g]`` consecutive rows start with the prompt of
                ``groups[g]``.
            groups: Groups in the order of the rows.
            copies: Per group the number of rows.

        Returns:
            Embeddings ``[rows, L, H]``.
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


def supported_model_types() -> tuple[str, ...]:
    """The ``model_type`` values that have an adapter."""
    return tuple(sorted(_ADAPTERS))


def load_model(uri: str | Path, *, dtype: Dtype, attention: Attention) -> LoadedModel:
    """Load a vision-language model from a local Hugging Face folder.

    With ``sdpa`` the decoder gets an attention that behaves exactly as transformers' own, and in
    addition knows rows of the form ``[prompt | response 1 | response 2 | ...]``. Dropout is off,
    also in train mode: log-ratios must not carry the noise of two different masks (TRL's
    ``disable_dropout``). The saved configuration keeps its rates.

    Args:
        uri: Path of the folder, or the same as ``file://`` URI. Remote folders are fetched by the
            caller.
        dtype: Type of all weights.
        attention: Attention of decoder and vision tower.

    Raises:
        ModelError: The folder, its configuration or its weights are missing, incomplete or of a
            family without an adapter.
    """
    folder = Path(str(uri).removeprefix("file://"))
    config = _read_config(folder)
    model_type = str(config.model_type)
    if model_type not in _ADAPTERS:
        raise ModelError(
            f"{folder}: models of type {model_type!r} are not supported; supported are "
            f"{', '.join(supported_model_types())}"
        )
    _check_weights(folder)
    register_shared_prefix_attention()
    decoder_attention = SHARED_PREFIX_SDPA if attention == "sdpa" else attention
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation={
                "": attention,
                "text_config": decoder_attention,
                "vision_config": attention,
            },
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, with their names
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise ModelError(f"{folder}: the model cannot be loaded: {error}") from error
    # transformers initialises absent weights at random and only warns.
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if absent:
        raise ModelError(
            f"{folder}: {len(absent)} weights of {model_type} are missing or have another shape, "
            f"first {absent[:3]}; the folder does not hold a whole model of its config.json"
        )
    _disable_dropout(model)
    module, name = _ADAPTERS[model_type]
    adapter_class = getattr(importlib.import_module(module), name)
    processor = load_processor(folder, adapter_class.processor_class)
    return LoadedModel(
        model=model, processor=processor, adapter=adapter_class(model.config, processor)
    )


def _disable_dropout(model: PreTrainedModel) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Attention layers keep their rate as a plain number.
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def _read_config(folder: Path) -> PretrainedConfig:
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder; model.uri must name a folder")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; a model folder is what save_pretrained writes")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}/config.json cannot be used: {error}") from error


def _check_weights(folder: Path) -> None:
    for name in _WEIGHT_INDEXES:
        index = folder / name
        if index.is_file():
            try:
                shards: Mapping[str, str] = json.loads(index.read_text())["weight_map"]
            except (ValueError, KeyError) as error:
                raise ModelError(f"{index} is not an index of weights: {error!r}") from error
            absent = sorted({shard for shard in shards.values() if not (folder / shard).is_file()})
            if absent:
                raise ModelError(
                    f"{folder}: {len(absent)} weight files named by {name} are missing, first "
                    f"{absent[0]}; copy the whole model folder"
                )
            return
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        raise ModelError(
            f"{folder}: no weights; expected model.safetensors or {_WEIGHT_INDEXES[0]}"
        )

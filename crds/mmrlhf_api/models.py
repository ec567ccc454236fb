"""The model that a job trains."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import NonNegativeFloat, PositiveInt, Word
from mmrlhf_api.uris import Uri

__all__ = ["Adapter", "Attention", "DType", "ModelSource", "Trainable"]

DType = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]
TemplateOwner = Literal["processor", "tokenizer"]


class ModelSource(ApiModel):
    """A vision-language model in Hugging Face format."""

    uri: Uri
    """Folder of the model (config.json, weights, tokenizer, processor): a path, file:// or
    s3://."""
    revision: Word | None = None
    """Revision of the model; recorded in the manifest and part of the identity of cached
    values."""
    dtype: DType = "float32"
    """Number format of weights and activations; the paper's runs use bfloat16 (released
    scripts)."""
    attention: Attention = "sdpa"
    """Attention implementation of the language model."""
    chat_template: TemplateOwner | None = None
    """Whose chat template is used where those of processor and tokenizer differ, which the log then
    says; without it, the processor's."""


class Trainable(ApiModel):
    """Parts of the model that training changes."""

    vision_tower: bool = False
    """Train the vision encoder; the paper keeps it frozen throughout (paper 5.1)."""
    projector: bool = True
    """Train the projector between vision encoder and language model."""
    language_model: bool = True
    """Train the language model."""

    rules = (
        Rule(
            "self.visionTower || self.projector || self.languageModel",
            "everything is frozen; set at least one part to true",
            check=lambda self: self.vision_tower or self.projector or self.language_model,
        ),
    )


class Adapter(ApiModel):
    """Low-rank matrices that are trained in place of the weights beside them (arXiv 2106.09685)."""

    kind: Literal["lora"] = "lora"
    """Kind of the adapter: lora adds scale * B A to the weight of a linear layer."""
    rank: PositiveInt = 16
    """Rank of the product, peft's r; at most the smaller side of each layer."""
    alpha: PositiveInt = 32
    """Scale of the product: alpha / rank, peft's lora_alpha."""
    dropout: NonNegativeFloat = 0.0
    """Dropout of the adapter, peft's lora_dropout; must be 0."""
    target_modules: Annotated[list[Word], MinLen(1), MaxLen(64), ListOf("atomic")] | None = None
    """Linear layers that get an adapter, as ends of their names (q_proj, mlp.down_proj), within the
    parts that spec.trainable names; without it, all linear layers of these parts but the output
    layer: attention and MLP of the language model."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead (rank-stabilized LoRA, arXiv 2312.03732)."""
    quantization: Literal["nf4"] | None = None
    """What the frozen weights beside the adapter are kept in: nf4 is QLoRA's 4 bits with double
    quantization (arXiv 2305.14314), by the package bitsandbytes; without it, the model's number
    format."""

    rules = (
        Rule(
            "!has(self.dropout) || self.dropout == 0.0",
            "dropout must be 0: the log-ratios of policy and reference would carry the noise of a "
            "random mask",
            field="dropout",
            check=lambda self: self.dropout == 0,
        ),
    )

"""The model that a job trains."""

from __future__ import annotations

from typing import Literal

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import Word
from mmrlhf_api.uris import Uri

__all__ = ["Attention", "DType", "ModelSource", "Trainable"]

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

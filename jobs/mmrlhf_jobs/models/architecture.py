"""Which classes a model is loaded with: transformers' own, and the adapter of its family.

A family has a class of its own (:mod:`mmrlhf_jobs.models.families.registry`), or a row in the table
(:mod:`mmrlhf_jobs.models.families.rows`), or is tried by the rules that hold for all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PretrainedConfig,
    ProcessorMixin,
)

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.adapter import VLMAdapter
from mmrlhf_jobs.models.families.generic import GenericAdapter
from mmrlhf_jobs.models.families.registry import find_family, supported_model_types
from mmrlhf_jobs.models.families.rows import OTHERS, find_row
from mmrlhf_jobs.models.families.text import TextAdapter
from mmrlhf_jobs.models.processing import (
    load_image_processor,
    load_text_processor,
)

__all__ = ["auto_class", "load_any_processor", "make_adapter"]


def auto_class(config: PretrainedConfig, folder: Path) -> Any:  # noqa: ANN401 - has no common base
    """The class of transformers whose ``from_pretrained`` loads a model.

    Raises:
        ModelError: transformers has no such model that writes text.
    """
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    raise ModelError(
        f"{folder}: models of type {config.model_type!r} are not supported: transformers has none "
        f"that writes text; proven are {', '.join(supported_model_types())}"
    )


def load_any_processor(config: PretrainedConfig, folder: Path) -> ProcessorMixin:
    """Load the processor of a model.

    Args:
        config: The model's configuration.
        folder: The model folder.

    Raises:
        ModelError: The folder lacks files of the processor, or brings its own code.
    """
    model_type = str(config.model_type)
    family = find_family(model_type)
    if family is not None:
        return load_image_processor(folder, model_type, family.processor_class)
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return load_image_processor(folder, model_type)
    return load_text_processor(folder)


def make_adapter(config: PretrainedConfig, processor: ProcessorMixin) -> VLMAdapter:
    """Make the adapter of a model.

    Args:
        config: The configuration that the model was loaded with.
        processor: Its processor.

    Raises:
        ModelError: Model and processor do not belong together, or the model is of another make
            than the rules know.
    """
    model_type = str(config.model_type)
    family = find_family(model_type)
    if family is not None:
        return family(config, processor)
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return GenericAdapter(config, processor, row=find_row(model_type) or OTHERS)
    return TextAdapter(config, processor)

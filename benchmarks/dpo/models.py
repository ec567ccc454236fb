"""The models of the comparison on a CPU, of 28 million weights at 12 layers, and what they read."""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from benchmarks.dpo.words import CHAT_TEMPLATE, EOS_ID, PAD_ID, word_tokenizer
from mmrlhf_jobs.models.processing import TextProcessor, processor_without_video

__all__ = ["IMAGE_SIDE", "IMAGE_TOKEN", "IMAGE_TOKENS", "build_model", "build_processor"]

IMAGE_TOKENS: Final = 256
_VOCABULARY: Final = 4096
IMAGE_TOKEN: Final = "<image>"
IMAGE_SIDE: Final = 224


def _build_tokenizer() -> PreTrainedTokenizerFast:
    """A word for every id."""
    return word_tokenizer([IMAGE_TOKEN], _VOCABULARY, image_token=IMAGE_TOKEN)


def _text_config(layers: int) -> dict[str, Any]:
    return {
        "vocab_size": _VOCABULARY,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": layers,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
        "bos_token_id": None,
    }


def build_model(*, images: bool, layers: int) -> PreTrainedModel:
    """The decoder, or a LLaVA of it and a frozen tower of 6 layers, with seeded values."""
    torch.manual_seed(0)
    if not images:
        return Qwen2ForCausalLM(Qwen2Config(**_text_config(layers))).train()
    token = _build_tokenizer().convert_tokens_to_ids(IMAGE_TOKEN)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config={"model_type": "qwen2", **_text_config(layers)},
            vision_config={
                "model_type": "clip_vision_model",
                "hidden_size": 256,
                "intermediate_size": 1024,
                "num_hidden_layers": 6,
                "num_attention_heads": 4,
                "image_size": IMAGE_SIDE,
                "patch_size": 14,
            },
            image_token_index=token,
            image_token_id=token,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
    )
    model.model.vision_tower.requires_grad_(False)
    return model.train()


def build_processor(*, images: bool) -> ProcessorMixin:
    """A processor of LLaVA, of which an image takes 256 places, or a tokenizer as one."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    if not images:
        return TextProcessor(_build_tokenizer())
    return processor_without_video(LlavaProcessor)(
        image_processor=CLIPImageProcessorPil(
            size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}, do_center_crop=False
        ),
        tokenizer=_build_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )

"""Builds the model: SmolVLM's classes around SmolLM2-135M-Instruct, with a small tower.

The text model has its published weights. The tower is a SigLIP of 0.2 million weights with weights
drawn here: a picture, made 32 x 32 pixels, is 64 patches, which the connector joins to 4 tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor

from mmrlhf_jobs.models.processing import processor_without_video

__all__ = ["build_model", "build_processor", "save_model"]

SIDE: Final = 32
"""Side in pixels that the tower sees of a picture; half of what easy-VQA has is enough."""
_PATCH: Final = 4
_JOINED: Final = 4
"""Patches a side that are joined to one token."""
IMAGE_TOKENS: Final = (SIDE // _PATCH // _JOINED) ** 2

_AROUND, _WHOLE, _IMAGE = "<fake_token_around_image>", "<global-img>", "<image>"
_NEW: Final = (_AROUND, _WHOLE, _IMAGE)
"""SmolVLM's tokens that SmolLM2 has not."""
# SmolLM2's own, without the words that say who it is, and with images.
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_processor(text: Path) -> SmolVLMProcessor:
    """The model's processor: PIL image processor, and the text model's tokenizer with new tokens.

    Args:
        text: Folder of the text model.
    """
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        text, local_files_only=True, trust_remote_code=False
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(_NEW)})
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.chat_template = CHAT_TEMPLATE
    whole = {"longest_edge": SIDE}
    images = SmolVLMImageProcessorPil(
        size=whole, max_image_size=whole, do_image_splitting=False, do_resize=True
    )
    return processor_without_video(SmolVLMProcessor)(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=None,
        image_seq_len=IMAGE_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    text: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    layers: int | None = None,
    hidden: int = 96,
    vision_layers: int = 3,
) -> SmolVLMForConditionalGeneration:
    """The text model with a tower and a connector, whose weights follow from ``seed``.

    Args:
        text: Folder of the text model.
        tokenizer: With the tokens that the text model has not.
        seed: Decides about the new weights.
        layers: Only so many of the text model's layers, from below; None: all.
        hidden: Width of the tower.
        vision_layers: Layers of the tower.
    """
    published = LlamaForCausalLM.from_pretrained(
        text, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    )
    settings = published.config.to_dict()
    settings |= {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": layers or settings["num_hidden_layers"],
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = SmolVLMConfig(
        vision_config={
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": _PATCH,
        },
        text_config=settings,
        image_token_id=tokenizer.convert_tokens_to_ids(_IMAGE),
        scale_factor=_JOINED,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SmolVLMForConditionalGeneration(config)
    _put_text_model(model, published)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _put_text_model(model: SmolVLMForConditionalGeneration, published: LlamaForCausalLM) -> None:
    """Copy the published weights; new tokens begin as the mean of all others."""
    weights = published.model.state_dict()
    words = weights["embed_tokens.weight"]
    new = model.get_input_embeddings().num_embeddings - len(words)
    weights["embed_tokens.weight"] = torch.cat([words, words.mean(0).expand(new, -1)])
    target = model.model.text_model
    target.load_state_dict({name: weights[name] for name in target.state_dict()})
    model.tie_weights()


def save_model(
    model: SmolVLMForConditionalGeneration, processor: SmolVLMProcessor, out: Path
) -> None:
    """Writes a Hugging Face model folder that the ``Auto`` classes load."""
    model.save_pretrained(out)
    processor.save_pretrained(out)

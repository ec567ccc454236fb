"""A tiny LLaVA-OneVision folder with a real tokenizer, image processor and model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from mmrlhf_jobs.models.processing import processor_without_video

CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
PINPOINTS = [[28, 28], [28, 56], [56, 28], [56, 56]]


def make_tokenizer(chat_template: str = CHATML) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of 320 tokens on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["what is in this picture? a red square, a blue circle and a dog."] * 20, trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
        additional_special_tokens=["<|im_start|>"],
        chat_template=chat_template,
    )


def make_processor(chat_template: str = CHATML) -> Any:
    """Build the processor of the tiny model, without its video part."""
    return processor_without_video(LlavaOnevisionProcessor)(
        image_processor=LlavaOnevisionImageProcessorPil(
            size={"height": 28, "width": 28}, image_grid_pinpoints=PINPOINTS
        ),
        tokenizer=make_tokenizer(chat_template),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )


def make_config(**text: Any) -> LlavaOnevisionConfig:
    """Configuration of a model with about 70k weights."""
    ids = {token: index for index, token in enumerate(SPECIAL)}
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=7,
        ),
        text_config=Qwen2Config(
            **{
                "vocab_size": 320,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "pad_token_id": 0,
                **text,
            }
        ),
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=PINPOINTS,
    )


def save_tiny(folder: Path, *, seed: int = 0, scale: float = 8.0, **text: Any) -> Path:
    """Write a whole model folder.

    Args:
        folder: Where to.
        seed: Seed of the weights.
        scale: Factor on the initial weights; at 1 the model is so close to uniform that wrong
            masks go unnoticed.
        **text: Overrides of the decoder's configuration.
    """
    torch.manual_seed(seed)
    model = LlavaOnevisionForConditionalGeneration(make_config(**text))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
    model.save_pretrained(folder)
    make_processor().save_pretrained(folder)
    return folder


def picture(width: int, height: int, seed: int) -> Image.Image:
    """An image of coloured noise."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())

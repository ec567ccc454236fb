"""Builds the base model: a LLaVA-OneVision of 0.7 million weights, from its configuration.

The classes are those of the full-size model (SigLIP tower, two-layer projector, Qwen2 decoder,
anyres tiling, byte-level BPE, ChatML), so the code that aligns it is the code that aligns the real
one. Sizes are chosen for the digits: a picture is a row of square cells, the tower takes square
tiles, so anyres tiling gives every digit a tile of its own at 16 x 16 pixels, twice the resolution
of the scans, and 4 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from examples.digits.scenes import MAX_DIGITS
from mmrlhf_jobs.models.processing import processor_without_video

__all__ = ["build_model", "build_processor", "read_texts", "save_model", "train_tokenizer"]

TILE = 16
"""Side of a vision tile in pixels."""
PATCH = 8
PINPOINTS = [[TILE, TILE * columns] for columns in range(1, MAX_DIGITS + 1)]
"""Resolutions that a picture may be tiled at: one row of up to four tiles."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
# As Qwen2 splits, digits one by one, but a digit takes the space before it along.
_SPLIT = r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+"


def read_texts(data: Path) -> Iterator[str]:
    """All questions and responses of a data file, in order."""
    with data.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield record["query"]["text"]
            for response in record["responses"]:
                yield response["text"]


def train_tokenizer(texts: Iterable[str], *, vocabulary: int = 640) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer with ChatML; any text can be encoded with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The roles of ChatML are text too.
    tokenizer.train_from_iterator([*texts, "system\n", "user\n", "assistant\n"], trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<image>", "<video>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaOnevisionProcessor:
    """The model's processor: PIL image processor and tokenizer."""
    images = LlavaOnevisionImageProcessorPil(
        size={"height": TILE, "width": TILE},
        image_grid_pinpoints=PINPOINTS,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return processor_without_video(LlavaOnevisionProcessor)(
        image_processor=images,
        tokenizer=tokenizer,
        num_image_tokens=(TILE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    hidden: int = 128,
    layers: int = 3,
    vision_hidden: int = 96,
    vision_layers: int = 2,
    max_tokens: int = 512,
) -> LlavaOnevisionForConditionalGeneration:
    """An untrained model with weights that follow from ``seed``."""
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=vision_hidden,
            intermediate_size=2 * vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=4,
            image_size=TILE,
            patch_size=PATCH,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=max_tokens,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=PINPOINTS,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def save_model(
    model: LlavaOnevisionForConditionalGeneration, processor: LlavaOnevisionProcessor, out: Path
) -> None:
    """Writes a Hugging Face model folder that the ``Auto`` classes load."""
    model.save_pretrained(out)
    processor.save_pretrained(out)

"""Tiny models of many families, each with its real processor class and its template's shape."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers.utils import is_torchvision_available

from mmrlhf_jobs.models.processing import TextProcessor, _find_class, processor_without_video

QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INTERNVL = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
LLAVA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
LLAVA_NEXT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{{ ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}{% endfor %}"
)
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + "
    "('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    "{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GLM = (
    "[gMASK]<sop>\n{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    "<|begin_of_image|><|image|><|end_of_image|>{% elif item['type'] == 'text' %}"
    "{{ item['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST]' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '[IMG]' }}"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}{{ '[/INST]' }}{% else %}"
    "{{ (message['content'] if message['content'] is string else message['content'][0]['text'])"
    " + eos_token }}{% endif %}{% endfor %}"
)
LFM2 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<image>' }}"
    "{% elif item['type'] == 'text' %}{{ item['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

HIDDEN = 32
VOCABULARY = 400


def make_tokenizer(
    special: list[str], template: str, *, eos: str, bos: str | None = None, **named: str
) -> Any:
    """Byte-level BPE with these special tokens; ``<pad>`` has the id 0."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 40,
        special_tokens=[AddedToken(token, special=True) for token in ["<pad>", *special]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["what is in this picture? a red square, a blue circle and a dog."] * 20, trainer
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=eos,
        bos_token=bos,
        pad_token="<pad>",
        extra_special_tokens=named,
        additional_special_tokens=special,
        chat_template=template,
    )


def text_settings(**more: Any) -> dict[str, Any]:
    """Settings of a decoder of two layers."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "max_position_embeddings": 2048,
        **more,
    }


def _processor(name: str, image_processor: Any, tokenizer: Any, **settings: Any) -> Any:
    found = _find_class(name)
    assert found is not None
    return processor_without_video(found)(
        image_processor=image_processor,
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
        **settings,
    )


def _qwen_processor(name: str, patch: int = 4) -> Any:
    special = ["<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|video_pad|>"]
    special += ["<|vision_start|>", "<|vision_end|>"]
    return _processor(
        name,
        hf.Qwen2VLImageProcessorPil(
            patch_size=patch,
            merge_size=2,
            temporal_patch_size=2,
            size={"shortest_edge": 16 * 16, "longest_edge": 32 * 32},
        ),
        make_tokenizer(special, QWEN, eos="<|im_end|>"),
    )


def _qwen_ids(processor: Any) -> dict[str, int]:
    convert = processor.tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": convert("<|image_pad|>"),
        "video_token_id": convert("<|video_pad|>"),
        "vision_start_token_id": convert("<|vision_start|>"),
        "vision_end_token_id": convert("<|vision_end|>"),
    }


MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}


def qwen2_vl() -> tuple[Any, Any]:
    """Qwen2-VL."""
    processor = _qwen_processor("Qwen2VLProcessor")
    config = hf.Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
        },
        text_config=text_settings(**MROPE),
        **_qwen_ids(processor),
    )
    return config, processor


def qwen2_5_vl() -> tuple[Any, Any]:
    """Qwen2.5-VL, with windows in its tower."""
    processor = _qwen_processor("Qwen2_5_VLProcessor")
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        text_config=text_settings(**MROPE),
        **_qwen_ids(processor),
    )
    return config, processor


def qwen3_vl() -> tuple[Any, Any]:
    """Qwen3-VL, with features for deeper layers."""
    processor = _qwen_processor("Qwen3VLProcessor")
    config = hf.Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config=text_settings(head_dim=8, **MROPE),
        **_qwen_ids(processor),
    )
    return config, processor


def qwen3_vl_moe() -> tuple[Any, Any]:
    """Qwen3-VL with experts."""
    processor = _qwen_processor("Qwen3VLProcessor")
    config = hf.Qwen3VLMoeConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        text_config=text_settings(
            head_dim=8, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, **MROPE
        ),
        **_qwen_ids(processor),
    )
    return config, processor


RECURRENT: dict[str, Any] = {
    "head_dim": 8,
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "full_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [1, 1, 2],
        "partial_rotary_factor": 1.0,
    },
}


EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


def _qwen3_5(config_class: Any, **text: Any) -> tuple[Any, Any]:
    processor = _qwen_processor("Qwen3VLProcessor")
    config = config_class(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
            "num_position_embeddings": 64,
        },
        text_config=text_settings(**RECURRENT, **text),
        **_qwen_ids(processor),
    )
    return config, processor


def qwen3_5() -> tuple[Any, Any]:
    """Qwen3.5: every other layer is a gated delta rule."""
    return _qwen3_5(hf.Qwen3_5Config)


def qwen3_5_moe() -> tuple[Any, Any]:
    """Qwen3.5 with experts."""
    return _qwen3_5(hf.Qwen3_5MoeConfig, **EXPERTS)


def internvl() -> tuple[Any, Any]:
    """InternVL3: tiles of 8 pixels a side, and a thumbnail."""
    special = ["<|im_end|>", "<|im_start|>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"]
    tokenizer = make_tokenizer(
        special,
        INTERNVL,
        eos="<|im_end|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = _processor(
        "InternVLProcessor",
        hf.GotOcr2ImageProcessorPil(size={"height": 8, "width": 8}, max_patches=4),
        tokenizer,
        image_seq_length=4,
    )
    config = hf.InternVLConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": (8, 8),
            "patch_size": (2, 2),
        },
        text_config={"model_type": "qwen2", **text_settings()},
        image_token_id=processor.image_token_id,
        image_seq_length=4,
    )
    return config, processor


CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 2,
    "projection_dim": 16,
}


def llava() -> tuple[Any, Any]:
    """LLaVA 1.5, whose template ends an answer with a space."""
    tokenizer = make_tokenizer(["</s>", "<s>", "<image>"], LLAVA, eos="</s>", bos="<s>")
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    processor = _processor(
        "LlavaProcessor",
        hf.CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
        tokenizer,
        patch_size=2,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaConfig(
        vision_config=CLIP,
        text_config={"model_type": "llama", **text_settings()},
        image_token_index=processor.image_token_id,
        image_seq_length=16,
    )
    return config, processor


def vipllava() -> tuple[Any, Any]:
    """VipLLaVA, which is not in the table."""
    _, processor = llava()
    config = hf.VipLlavaConfig(
        vision_config=CLIP,
        text_config={"model_type": "llama", **text_settings()},
        image_token_index=processor.image_token_id,
        image_seq_length=16,
        vision_feature_layers=[-1, -2],
    )
    return config, processor


def llava_next() -> tuple[Any, Any]:
    """LLaVA-NeXT."""
    pinpoints = [[8, 16], [16, 8], [16, 16]]
    tokenizer = make_tokenizer(["</s>", "<s>", "<image>"], LLAVA_NEXT, eos="</s>", bos="<s>")
    processor = _processor(
        "LlavaNextProcessor",
        hf.LlavaNextImageProcessorPil(
            size={"shortest_edge": 8},
            crop_size={"height": 8, "width": 8},
            image_grid_pinpoints=pinpoints,
        ),
        tokenizer,
        patch_size=2,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaNextConfig(
        vision_config=CLIP,
        text_config={"model_type": "llama", **text_settings()},
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=pinpoints,
        image_seq_length=16,
    )
    return config, processor


def _idefics(name: str, image_processor: Any, config_class: Any) -> tuple[Any, Any]:
    special = ["<end_of_utterance>", "<|im_start|>", "<image>", "<fake_token_around_image>"]
    special += ["<global-img>", "<video>"]
    special += [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    processor = _processor(
        name,
        image_processor(size={"longest_edge": 16}, max_image_size={"longest_edge": 8}),
        make_tokenizer(special, IDEFICS, eos="<end_of_utterance>"),
        image_seq_len=4,
        **({"video_processor": None} if name == "SmolVLMProcessor" else {}),
    )
    config = config_class(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 8,
            "patch_size": 2,
        },
        text_config={"model_type": "llama", **text_settings()},
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=0,
    )
    return config, processor


def idefics3() -> tuple[Any, Any]:
    """Idefics3: images cut into tiles of 8 pixels a side."""
    return _idefics("Idefics3Processor", hf.Idefics3ImageProcessorPil, hf.Idefics3Config)


def smolvlm() -> tuple[Any, Any]:
    """SmolVLM."""
    return _idefics("SmolVLMProcessor", hf.SmolVLMImageProcessorPil, hf.SmolVLMConfig)


def gemma3() -> tuple[Any, Any]:
    """Gemma 3: a layer with a window of 8 tokens, and an image token outside the vocabulary."""
    special = ["<end_of_turn>", "<bos>", "<start_of_turn>", "<start_of_image>", "<end_of_image>"]
    tokenizer = make_tokenizer(
        [*special, "<image_soft_token>"],
        GEMMA,
        eos="<end_of_turn>",
        bos="<bos>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    processor = _processor(
        "Gemma3Processor",
        hf.Gemma3ImageProcessorPil(size={"height": 8, "width": 8}),
        tokenizer,
        image_seq_length=4,
    )
    config = hf.Gemma3Config(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 8,
            "patch_size": 2,
        },
        text_config=text_settings(
            head_dim=8,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            query_pre_attn_scalar=8,
        ),
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    return config, processor


def _glm(name: str, image_processor: Any, config_class: Any) -> tuple[Any, Any]:
    special = ["<|user|>", "<|assistant|>", "[gMASK]", "<sop>", "<|image|>", "<|video|>"]
    special += ["<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>"]
    special += ["<|end_of_video|>", "<|endoftext|>"]
    tokenizer = make_tokenizer(special, GLM, eos="<|endoftext|>")
    processor = _processor(
        name,
        image_processor(
            patch_size=4,
            merge_size=2,
            temporal_patch_size=2,
            size={"shortest_edge": 2 * 16 * 16, "longest_edge": 2 * 32 * 32},
        ),
        tokenizer,
    )
    convert = tokenizer.convert_tokens_to_ids
    config = config_class(
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "out_hidden_size": HIDDEN,
            "num_heads": 2,
            "patch_size": 4,
            "image_size": 32,
        },
        text_config=text_settings(
            rope_parameters={
                "rope_type": "default",
                "mrope_section": [1, 1, 2],
                "partial_rotary_factor": 1.0,
            }
        ),
        image_token_id=convert("<|image|>"),
        video_token_id=convert("<|video|>"),
        image_start_token_id=convert("<|begin_of_image|>"),
        image_end_token_id=convert("<|end_of_image|>"),
        video_start_token_id=convert("<|begin_of_video|>"),
        video_end_token_id=convert("<|end_of_video|>"),
    )
    return config, processor


def glm4v() -> tuple[Any, Any]:
    """GLM-4.1V."""
    return _glm("Glm4vProcessor", hf.Glm4vImageProcessorPil, hf.Glm4vConfig)


def glm46v() -> tuple[Any, Any]:
    """GLM-4.6V."""
    return _glm("Glm46VProcessor", hf.Glm46VImageProcessorPil, hf.Glm46VConfig)


def mistral3() -> tuple[Any, Any]:
    """Mistral 3."""
    special = ["</s>", "<s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    processor = _processor(
        "PixtralProcessor",
        hf.PixtralImageProcessorPil(
            patch_size={"height": 4, "width": 4}, size={"longest_edge": 32}
        ),
        make_tokenizer(special, MISTRAL, eos="</s>", bos="<s>"),
        patch_size=4,
        spatial_merge_size=2,
    )
    config = hf.Mistral3Config(
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
        },
        text_config={"model_type": "mistral", "sliding_window": None, **text_settings()},
        image_token_index=processor.image_token_id,
        spatial_merge_size=2,
    )
    return config, processor


def llama() -> tuple[Any, Any]:
    """Llama: text alone."""
    template = MISTRAL.replace("[INST]", "[INST] ")
    tokenizer = make_tokenizer(
        ["</s>", "<s>", "[INST]", "[/INST]"], template, eos="</s>", bos="<s>"
    )
    return hf.LlamaConfig(**text_settings()), TextProcessor(tokenizer)


def qwen3() -> tuple[Any, Any]:
    """Qwen3: text alone."""
    return hf.Qwen3Config(**text_settings(head_dim=8)), _chatml()


def _chatml() -> TextProcessor:
    return TextProcessor(make_tokenizer(["<|im_end|>", "<|im_start|>"], QWEN, eos="<|im_end|>"))


def qwen3_5_text() -> tuple[Any, Any]:
    """Qwen3.5, text alone."""
    return hf.Qwen3_5TextConfig(**text_settings(**RECURRENT)), _chatml()


def qwen3_5_moe_text() -> tuple[Any, Any]:
    """Qwen3.5 with experts, text alone."""
    return hf.Qwen3_5MoeTextConfig(**text_settings(**RECURRENT, **EXPERTS)), _chatml()


def qwen3_next() -> tuple[Any, Any]:
    """Qwen3-Next, whose experts stand in every layer but the first."""
    settings = {**RECURRENT, "rope_parameters": {"rope_type": "default"}}
    return hf.Qwen3NextConfig(
        **text_settings(**settings, **EXPERTS), mlp_only_layers=[0]
    ), _chatml()


CONVOLUTIONS: dict[str, Any] = {
    "num_hidden_layers": 4,
    "layer_types": ["conv", "full_attention", "conv", "full_attention"],
}


def lfm2() -> tuple[Any, Any]:
    """LFM2, text alone: every other layer is a short convolution."""
    return hf.Lfm2Config(**text_settings(**CONVOLUTIONS)), _chatml()


def lfm2_moe() -> tuple[Any, Any]:
    """LFM2 with experts, which its first layer does not have."""
    settings = {**CONVOLUTIONS, **EXPERTS, "num_dense_layers": 1, "initializer_range": 0.03}
    del settings["shared_expert_intermediate_size"]
    return hf.Lfm2MoeConfig(**text_settings(**settings)), _chatml()


def lfm2_vl() -> tuple[Any, Any]:
    """LFM2-VL: images cut into up to six tiles of 16 pixels a side, and a thumbnail."""
    special = ["<|im_end|>", "<|startoftext|>", "<|im_start|>", "<image>", "<|img_thumbnail|>"]
    special += ["<|image_start|>", "<|image_end|>"]
    special += [f"<|img_row_{row}_col_{column}|>" for row, column in product(range(1, 7), repeat=2)]
    tokenizer = make_tokenizer(special, LFM2, eos="<|im_end|>", bos="<|startoftext|>")
    processor = _processor(
        "Lfm2VlProcessor",
        hf.Lfm2VlImageProcessor(
            encoder_patch_size=4, tile_size=16, min_image_tokens=1, max_image_tokens=4, max_tiles=6
        ),
        tokenizer,
    )
    config = hf.Lfm2VlConfig(
        vision_config={
            "model_type": "siglip2_vision_model",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "num_patches": 16,
            "vision_use_head": False,
        },
        text_config={"model_type": "lfm2", **text_settings(**CONVOLUTIONS)},
        image_token_id=processor.image_token_id,
        projector_hidden_size=32,
    )
    return config, processor


EVERYWHERE: dict[str, Callable[[], tuple[Any, Any]]] = {
    make.__name__: make
    for make in (
        qwen2_vl,
        qwen2_5_vl,
        qwen3_vl,
        qwen3_vl_moe,
        internvl,
        llava,
        llava_next,
        idefics3,
        smolvlm,
        gemma3,
        glm4v,
        glm46v,
        mistral3,
        vipllava,
        llama,
        qwen3,
        qwen3_5,
        qwen3_5_moe,
        qwen3_5_text,
        qwen3_5_moe_text,
        qwen3_next,
        lfm2,
        lfm2_moe,
    )
}


WITH_TORCHVISION: dict[str, Callable[[], tuple[Any, Any]]] = {"lfm2_vl": lfm2_vl}
"""Transformers turns their images into pixels with torchvision alone (`make with-torchvision`)."""

FAMILIES = EVERYWHERE | (WITH_TORCHVISION if is_torchvision_available() else {})

TEXT_ALONE = frozenset(
    ("llama", "qwen3", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "lfm2", "lfm2_moe")
)
"""Those of them that see no images."""


def save(name: str, folder: Path, *, scale: float = 6.0) -> Path:
    """Write a whole model folder of a family.

    Args:
        name: Key of :data:`FAMILIES`.
        folder: Where to.
        scale: Factor on the initial weights; at 1 the model is so close to uniform that wrong
            masks go unnoticed.
    """
    config, processor = FAMILIES[name]()
    torch.manual_seed(0)
    auto = hf.AutoModelForImageTextToText
    if type(config) not in hf.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        auto = hf.AutoModelForCausalLM
    model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    text = isinstance(processor, TextProcessor)
    (processor.tokenizer if text else processor).save_pretrained(folder)
    return folder

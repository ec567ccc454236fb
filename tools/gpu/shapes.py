"""Models of a shape that people train, with weights made at random where they are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import (
    AutoModelForImageTextToText,
    LlavaOnevisionConfig,
    LlavaOnevisionProcessor,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)

from benchmarks.dpo.words import EOS_ID, PAD_ID, build_image, image_opening, word_tokenizer
from mmrlhf_api import Trainable
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
from mmrlhf_jobs.forward.sharing import Comparison, compare_rows
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.architecture import make_adapter
from mmrlhf_jobs.models.processing import processor_without_video
from tools.gpu.flops import Weights

if TYPE_CHECKING:
    from benchmarks.dpo.words import Opening

__all__ = ["SHAPES", "Shape", "build", "build_bare", "count_weights", "open_image", "prove"]

_WORDS: Final = 4096
"""Words of the tokenizers; models have as many embeddings as the real ones."""


@dataclass(frozen=True)
class Shape:
    """A model's configuration, and how it reads.

    Attributes:
        config: Configuration of the model.
        processor: Its processor, with a tokenizer of random words.
        image_side: Side of the images, in pixels.
        image_text: What stands in a prompt for an image.
        image_token: The token in it that becomes many.
        patch: Side of the tower's patches, in pixels.
    """

    config: PretrainedConfig
    processor: ProcessorMixin
    image_side: int
    image_text: str
    image_token: str
    patch: int

    def patches(self, media_inputs: dict[str, torch.Tensor]) -> int:
        """Patches that go through the tower for the images of a query."""
        if (grid := media_inputs.get("image_grid_thw")) is not None:
            return int(grid.prod(-1).sum())
        pixels = media_inputs.get("pixel_values")
        return 0 if pixels is None else pixels[..., 0, :, :].numel() // self.patch**2


def _decoder(tiny: bool, layers: int | None, **more: int) -> dict[str, Any]:
    """Of Qwen2-7B, which both have."""
    sizes: dict[str, Any] = {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": layers or 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    }
    if tiny:
        sizes |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers or 2}
        sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    return {
        **sizes,
        "tie_word_embeddings": False,
        "rope_theta": 1e6,
        "bos_token_id": None,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
        **more,
    }


def llava_onevision(tiny: bool, layers: int | None = None, **decoder: int) -> Shape:
    """LLaVA-OneVision-7B's, which sees an image of one tile as 1,485 tokens."""
    side, patch = (28, 7) if tiny else (384, 14)
    tokenizer = word_tokenizer(
        ["<image>", "<video>"], _WORDS, image_token="<image>", video_token="<video>"
    )
    pinpoints = [[side, side], [side, 2 * side], [2 * side, side]]
    per_tile = (side // patch) ** 2
    processor = processor_without_video(LlavaOnevisionProcessor)(
        image_processor=LlavaOnevisionImageProcessorPil(
            size={"height": side, "width": side}, image_grid_pinpoints=pinpoints
        ),
        tokenizer=tokenizer,
        num_image_tokens=per_tile,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )
    tower = {
        "model_type": "siglip_vision_model",
        "hidden_size": 16 if tiny else 1152,
        "intermediate_size": 32 if tiny else 4304,
        "num_hidden_layers": 2 if tiny else 26,
        "num_attention_heads": 2 if tiny else 16,
        "image_size": side,
        "patch_size": patch,
        "vision_use_head": False,
    }
    text = _decoder(tiny, layers, vocab_size=_WORDS if tiny else 152128)
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text, **decoder},
        vision_config=tower,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    return Shape(config, processor, side, "<image>", "<image>", patch)


def llava_onevision_half(tiny: bool, layers: int | None = None) -> Shape:
    """LLaVA-OneVision-0.5B's decoder, small enough for float32."""
    sizes = {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14}
    more = {} if tiny else {**sizes, "num_key_value_heads": 2, "num_hidden_layers": layers or 24}
    return llava_onevision(tiny, layers, **more)


def qwen2_5_vl(tiny: bool, layers: int | None = None) -> Shape:
    """Qwen2.5-VL-7B's; images here are of 1,008 pixels a side, which are 1,296 tokens."""
    side, patch = (32, 4) if tiny else (1008, 14)
    special = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = word_tokenizer(special, _WORDS)
    processor = processor_without_video(Qwen2_5_VLProcessor)(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=patch,
            merge_size=2,
            temporal_patch_size=2,
            size={"shortest_edge": (2 * patch) ** 2, "longest_edge": side**2},
        ),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
    )
    tower = {
        "depth": 2 if tiny else 32,
        "hidden_size": 16 if tiny else 1280,
        "intermediate_size": 32 if tiny else 3420,
        "num_heads": 2 if tiny else 16,
        "out_hidden_size": 32 if tiny else 3584,
        "patch_size": patch,
        "window_size": 16 if tiny else 112,
        "fullatt_block_indexes": [1] if tiny else [7, 15, 23, 31],
    }
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2] if tiny else [16, 24, 24]}
    text = _decoder(tiny, layers, vocab_size=_WORDS if tiny else 152064)
    text["rope_parameters"] = {**rope, "rope_theta": text.pop("rope_theta")}
    ids = tokenizer.convert_tokens_to_ids(special)
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=tower,
        image_token_id=ids[0],
        video_token_id=ids[1],
        vision_start_token_id=ids[2],
        vision_end_token_id=ids[3],
        tie_word_embeddings=False,
    )
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    return Shape(config, processor, side, image, "<|image_pad|>", patch)


SHAPES: Final[dict[str, Callable[[bool, int | None], Shape]]] = {
    "LLaVA-OneVision-7B": llava_onevision,
    "LLaVA-OneVision-0.5B": llava_onevision_half,
    "Qwen2.5-VL-7B": qwen2_5_vl,
}


def build_bare(shape: Shape, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model with seeded weights, made on the device, its tower frozen, as transformers has it."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            shape.config, dtype=dtype, attn_implementation="sdpa", trust_remote_code=False
        )
    adapter = make_adapter(model.config, shape.processor)
    adapter.freeze(model, Trainable())
    return model.train()


def build(shape: Shape, *, dtype: torch.dtype, device: torch.device) -> LoadedModel:
    """The same as a job has it: with its adapter, and with the attention of shared prompts."""
    model = build_bare(shape, dtype=dtype, device=device)
    adapter = make_adapter(model.config, shape.processor)
    register_shared_prefix_attention()
    decoder: Any = adapter.decoder(model)
    decoder.set_attn_implementation(SHARED_PREFIX_SDPA)
    return LoadedModel(model, shape.processor, adapter)


def count_weights(loaded: LoadedModel) -> Weights:
    """What decides about the operations of a model."""
    model, adapter = loaded.model, loaded.adapter
    text = model.config.get_text_config()
    embedded = {id(one) for one in model.get_input_embeddings().parameters()}
    decoder = adapter.decoder(model).parameters()
    head = adapter.output_layer(model).weight
    tower = model.get_encoder(modality="image").parameters()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Weights(
        decoder=sum(one.numel() for one in decoder if id(one) not in embedded),
        head=head.numel(),
        tower=sum(one.numel() for one in tower),
        layers=text.num_hidden_layers,
        width=text.num_attention_heads * size,
    )


def prove(shape: Shape, loaded: LoadedModel) -> Comparison:
    """Let rows attend by what the proof before a training finds right, with an image and without.

    Raises:
        ModelError: Rows of one response are wrong as well.
    """
    opening = open_image(shape, loaded)
    ids = torch.arange(100, 120)
    groups = [
        EncodedGroup(torch.cat([start, ids[:5]]), (ids[5:9], ids[9:15]), dict(media))
        for start, media in (
            (opening.ids, opening.media_inputs),
            (torch.zeros(0, dtype=torch.int64), {}),
        )
    ]
    return compare_rows(loaded.model, loaded.adapter, groups, wanted=True)


def open_image(shape: Shape, loaded: LoadedModel) -> Opening:
    """An image of noise at the begin of a prompt."""
    image = build_image(shape.image_side)
    return image_opening(loaded.adapter, shape.image_text, shape.image_token, image)

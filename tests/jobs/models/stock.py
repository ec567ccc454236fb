"""What transformers' own processor and model make of queries, to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers as hf
from PIL import Image
from torch import Tensor

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models import LoadedModel
from mmrlhf_jobs.models.processing import TextProcessor
from tests.jobs.models.tiny import picture

NEAR: dict[torch.dtype, Any] = {
    torch.float64: {"rtol": 1e-6, "atol": 1e-5},
    torch.float32: {"rtol": 1e-4, "atol": 1e-3},
}
QUESTIONS: tuple[tuple[str, list[Image.Image], list[str]], ...] = (
    ("what are these?", [picture(40, 28, 1), picture(24, 50, 2)], ["a dog", "no, a red square"]),
    ("and this?", [picture(30, 30, 3)], ["blue", "a", "circle dog"]),
    ("a dog or a circle?", [], ["yes", "it is a blue circle"]),
)


def media_of(images: Sequence[Image.Image]) -> list[LoadedMedia]:
    """Images as the adapter takes them."""
    return [LoadedMedia("image", (image,)) for image in images]


def sees(loaded: LoadedModel) -> bool:
    """Whether a model takes images."""
    return not isinstance(loaded.processor, TextProcessor)


def questions(loaded: LoadedModel) -> list[Any]:
    """Queries of two images, of one and of none, as far as the model sees."""
    return [entry for entry in QUESTIONS if sees(loaded) or not entry[1]]


def stock_inputs(loaded: LoadedModel, question: str, images: Sequence[Image.Image]) -> Any:
    """What transformers' own processor makes of a conversation."""
    if not sees(loaded):
        return loaded.processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
    content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    content.append({"type": "text", "text": question})
    # SmolVLM's own method looks at the video processor, which asks for torchvision.
    return hf.ProcessorMixin.apply_chat_template(
        loaded.processor,
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"return_mm_token_type_ids": True},
    )


def stock_output(model: Any, inputs: Any, more: Tensor) -> Any:
    """Output of a plain forward pass over a prompt and more tokens, with hidden states."""
    entries = dict(inputs)
    count = len(more)
    entries["input_ids"] = torch.cat([inputs["input_ids"], more[None]], dim=1)
    for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", 0)):
        if name in entries:
            entries[name] = torch.nn.functional.pad(entries[name], (0, count), value=value)
    if "pixel_values" in entries:
        entries["pixel_values"] = entries["pixel_values"].to(model.dtype)
    if hasattr(model.base_model, "rope_deltas"):
        model.base_model.rope_deltas = None
    entries.pop("mm_token_type_ids" if not hasattr(model.base_model, "get_rope_index") else "", 0)
    return model(**entries, output_hidden_states=True)


def stock_forward(model: Any, inputs: Any, response: Tensor) -> Tensor:
    """Log-probability of a response after a prompt, from a plain forward pass of the model."""
    logits = stock_output(model, inputs, response).logits[0, -len(response) - 1 : -1]
    return torch.log_softmax(logits, -1).gather(1, response[:, None]).sum()


def stock_tokens(model: Any, inputs: Any, *, count: int) -> list[int]:
    """Greedy tokens of ``generate`` after a prompt."""
    entries = dict(inputs)
    if "pixel_values" in entries:
        entries["pixel_values"] = entries["pixel_values"].to(model.dtype)
    if not hasattr(model.base_model, "get_rope_index"):
        entries.pop("mm_token_type_ids", None)
    written = model.generate(**entries, do_sample=False, max_new_tokens=count)
    return [int(token) for token in written[0, entries["input_ids"].shape[1] :]]

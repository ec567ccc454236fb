"""Frozen weights in 4 bits beside an adapter (QLoRA, arXiv 2305.14314), by bitsandbytes.

The format is NF4 of blocks of 64 numbers, whose scales are themselves in 8 bits, in blocks of 256
(double quantization, section 3 there). A layer computes with its weight as that is rounded once to
NF4 and back, in the model's number format; so do training, reference and evaluation alike.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models.weights import Weight

__all__ = ["BITS", "is_plain", "plain_weight", "quantize"]

BITS: Final = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits of a number, its part of the scales included."""


def is_plain(layer: nn.Module) -> bool:
    """Whether a linear layer computes as torch's own, and may so be put in the place of one."""
    return type(layer) is nn.Linear


def quantize(model: nn.Module, layers: Iterable[str]) -> None:
    """Keep the weights of linear layers in NF4 from here on; biases stay as they are.

    Args:
        model: The model, in main memory.
        layers: Names of its layers, each `is_plain`.

    Raises:
        SpecError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SpecError(
            "spec.adapter.quantization: needs the package bitsandbytes, which is not installed"
            " here; install mmrlhf[qlora] in the image or environment of the job, or remove the"
            " field"
        )
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name in layers:
        old: Any = model.get_submodule(name)
        new = Linear4bit(
            old.in_features,
            old.out_features,
            bias=False,
            compute_dtype=old.weight.dtype,
            quant_type="nf4",
            device="meta",
        )
        new.weight = Params4bit(old.weight.data, quant_type="nf4", module=new).to("cpu")
        new.bias = old.bias
        # Passes without gradients would take another layout on some CPUs, which rounds otherwise.
        new.support_avx512bf16_for_cpu = False
        new.train(old.training)
        model.set_submodule(name, new)


def plain_weight(weights: Mapping[str, Weight], name: str) -> Weight:
    """A weight in the format that its layer computes in.

    Args:
        weights: Weights by name, with what says how each is quantized behind its name.
        name: Of the weight.
    """
    value = weights[name]
    how = {
        other.removeprefix(f"{name}."): part
        for other, part in weights.items()
        if other.startswith(f"{name}.")
    }
    if not how:
        return value
    from bitsandbytes.functional import QuantState, dequantize_4bit

    def state() -> QuantState:
        parts = {key: part.read() for key, part in how.items()}
        return QuantState.from_dict(parts, device=value.read().device)

    def read() -> Tensor:
        plain: Tensor = dequantize_4bit(value.read(), state())
        return plain

    return Weight(torch.Size(state().shape), state().dtype, read)

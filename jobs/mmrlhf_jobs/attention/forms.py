"""Which form the attention of packed rows takes: a pure decision over what a layer asks for.

``cpu`` and ``varlen`` are the two calls of :mod:`mmrlhf_jobs.attention.merged`, by the kernel that
makes them; ``split`` is one call of torch's own attention for each part, which takes everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import torch

__all__ = ["SPLIT", "Asked", "Card", "Choice", "Form", "choose_form", "read_card"]

Form = Literal["cpu", "varlen", "split"]
SPLIT: Final = "split"

_DTYPES: Final = (torch.bfloat16, torch.float16)
_LARGEST_HEAD: Final = 256
_HEAD_STEP: Final = 8
_OLDEST: Final = (8, 0)
"""Compute capability of the first cards with FlashAttention-2 (Ampere)."""


@dataclass(frozen=True)
class Card:
    """What decides about a CUDA device.

    Attributes:
        capability: Its compute capability.
        flash: This build of torch has flash attention for NVIDIA's cards.
    """

    capability: tuple[int, int]
    flash: bool


@dataclass(frozen=True)
class Asked:
    """What a layer's attention is asked for.

    Attributes:
        device: Type of the device, such as ``cuda``.
        dtype: Number format of queries, keys and values.
        head: Numbers of a head of queries and keys.
        value_head: Numbers of a head of values.
        card: The card, for ``cuda``.
    """

    device: str
    dtype: torch.dtype
    head: int
    value_head: int
    card: Card | None = None


@dataclass(frozen=True)
class Choice:
    """A form, and why it is ``split`` where it is."""

    form: Form
    reason: str = ""


def choose_form(asked: Asked) -> Choice:
    """The form for what is asked.

    The limits of ``varlen`` are those of FlashAttention-2, which torch's ``varlen_attn`` calls
    (torch/nn/attention/varlen.py and ``mha_varlen_fwd`` of its flash_api.cpp, torch 2.13): 16-bit
    formats, heads of up to 256 numbers by steps of 8, Ampere and later.
    """
    if asked.head != asked.value_head:
        return Choice(
            SPLIT, f"heads have {asked.head} numbers for keys, {asked.value_head} for values"
        )
    if asked.device == "cpu":
        return Choice("cpu")
    if asked.device != "cuda" or asked.card is None:
        return Choice(SPLIT, f"there is no kernel for parts of any length on {asked.device}")
    dtype = str(asked.dtype).removeprefix("torch.")
    found = {
        f"it takes bfloat16 and float16, not {dtype}": asked.dtype not in _DTYPES,
        f"it takes heads of up to {_LARGEST_HEAD} numbers by steps of {_HEAD_STEP}, not of "
        f"{asked.head}": asked.head > _LARGEST_HEAD or asked.head % _HEAD_STEP != 0,
        f"it takes cards from compute capability {_words(_OLDEST)} on, not "
        f"{_words(asked.card.capability)}": asked.card.capability < _OLDEST,
        "this build of torch has no flash attention for NVIDIA's cards": not asked.card.flash,
    }
    reason = next((why for why, applies in found.items() if applies), "")
    return Choice(SPLIT, f"varlen_attn is not used: {reason}") if reason else Choice("varlen")


@lru_cache(maxsize=8)
def read_card(device: torch.device) -> Card | None:
    """What decides about a device; None unless it is CUDA."""
    if device.type != "cuda":
        return None
    return Card(
        capability=torch.cuda.get_device_capability(device),
        flash=torch.version.hip is None and torch.backends.cuda.is_flash_attention_available(),
    )


def _words(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))

"""Queries of random words, as token ids for us and as texts for a peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from benchmarks.dpo.lengths import Lengths
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "CHAT_TEMPLATE",
    "EOS_ID",
    "NO_IMAGE",
    "PAD_ID",
    "Opening",
    "build_image",
    "image_opening",
    "make_groups",
    "make_rows",
    "word_tokenizer",
]

PAD_ID: Final = 0
EOS_ID: Final = 1
_WORDS: Final = ["<pad>", "<|im_end|>", "<|im_start|>", "system", "user", "assistant"]
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }} "
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def word_tokenizer(special: Sequence[str], size: int, **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer with a word for every id: of the template, special ones, and random ones.

    Args:
        special: Tokens that stand for media.
        size: Words of the vocabulary.
        **named: Attributes under which processors look for special tokens.
    """
    known = [*_WORDS, *special]
    words = [*known, *(f"w{i}" for i in range(len(known), size))]
    vocabulary = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = WhitespaceSplit()
    vocabulary.add_special_tokens(["<pad>", "<|im_end|>", "<|im_start|>", *special])
    return PreTrainedTokenizerFast(
        tokenizer_object=vocabulary,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        extra_special_tokens=named,
        chat_template=CHAT_TEMPLATE,
    )


@dataclass(frozen=True)
class Opening:
    """What a prompt begins with.

    Attributes:
        text: For a processor.
        ids: ``[K]`` what becomes of it.
        media_inputs: Tensors of the image, for the model.
        image: The image, if there is one.
    """

    text: str
    ids: Tensor
    media_inputs: Mapping[str, Tensor] = field(default_factory=dict)
    image: Image.Image | None = None


NO_IMAGE: Final = Opening("", torch.zeros(0, dtype=torch.int64))


def image_opening(adapter: VLMAdapter, text: str, image_token: str, image: Image.Image) -> Opening:
    """An image, as the adapter of a family makes it ready.

    Args:
        adapter: The adapter.
        text: What stands in a prompt for an image.
        image_token: The token in it that becomes many.
        image: The image.
    """
    tokenizer = adapter.chat.tokenizer
    token = tokenizer.convert_tokens_to_ids(image_token)
    group = adapter.encode("what", [LoadedMedia("image", (image,))], [])
    count = int((group.prompt_ids == token).sum())
    ids: list[int] = []
    for one in tokenizer(text, add_special_tokens=False)["input_ids"]:
        ids += [one] * (count if one == token else 1)
    return Opening(text, torch.tensor(ids), group.media_inputs, image)


def build_image(side: int, *, seed: int = 0) -> Image.Image:
    """A square picture of coloured noise."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def make_groups(
    lengths: Lengths, opening: Opening, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> list[EncodedGroup]:
    """Queries of random words, best response first, of these lengths with what they begin with.

    A prompt is at least a word longer than what it begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    first = next(place for place, name in enumerate(names) if name == f"w{place}")

    def draw(count: int) -> Tensor:
        return torch.randint(first, len(tokenizer), (count,), generator=generator)

    end = torch.tensor([EOS_ID])
    return [
        EncodedGroup(
            torch.cat([opening.ids, draw(max(prompt - len(opening.ids), 1))]),
            tuple(torch.cat([draw(length - 1), end]) for length in own),
            dict(opening.media_inputs),
        )
        for prompt, own in lengths
    ]


def make_rows(
    groups: Sequence[EncodedGroup], opening: Opening, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """All pairs of the same queries, as texts."""

    def text(ids: Tensor) -> str:
        return "".join(f" {word}" for word in tokenizer.convert_ids_to_tokens(ids.tolist()))

    images = {} if opening.image is None else {"images": [opening.image]}
    return [
        {
            "prompt": opening.text + text(group.prompt_ids[len(opening.ids) :]),
            "chosen": text(chosen),
            "rejected": text(rejected),
            **images,
        }
        for group in groups
        for chosen, rejected in combinations(group.responses, 2)
    ]

"""Features of the images of several queries, from one call of any family's vision encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import PreTrainedModel

from mmrlhf_jobs.errors import ModelError

__all__ = ["ImageFeatures", "encode_images"]


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images of several groups.

    Attributes:
        shallow: ``[T, H]``, for the places of the image tokens of all groups, in order.
        deep: Per decoder layer that adds some to its input (Qwen3-VL), the same.
        counts: Per group the number of its image tokens; they sum to T.
    """

    shallow: Tensor
    deep: list[Tensor]
    counts: tuple[int, ...]

    @classmethod
    def join(cls, parts: Sequence[Sequence[Tensor] | None]) -> ImageFeatures | None:
        """Of groups, each with its shallow features and the deep ones, or without images."""
        layers = list(zip(*(part for part in parts if part is not None), strict=True))
        if not layers:
            return None
        shallow, *deep = (torch.cat(layer) for layer in layers)
        counts = tuple(len(part[0]) if part is not None else 0 for part in parts)
        return cls(shallow, deep, counts)

    def by_group(self) -> list[Tensor]:
        """Per group its features ``[tokens, H]``."""
        return list(self.shallow.split(list(self.counts)))

    def repeat(self, copies: Sequence[int]) -> ImageFeatures:
        """The same for rows, of which each group has some: row by row."""

        def rows(features: Tensor) -> Tensor:
            parts = zip(features.split(list(self.counts)), copies, strict=True)
            return torch.cat([part for part, times in parts for _ in range(times)])

        counts = zip(self.counts, copies, strict=True)
        return ImageFeatures(
            shallow=rows(self.shallow),
            deep=[rows(layer) for layer in self.deep],
            counts=tuple(count for count, times in counts for _ in range(times)),
        )

    def total(self) -> Tensor:
        """Sum of everything, a number that all parts of the encoder have a share in."""
        return torch.stack([part.sum() for part in (self.shallow, *self.deep)]).sum()


def encode_images(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    counts: Sequence[int] | None,
) -> ImageFeatures:
    """Encode images in one call, whatever their number: processes that share weights do the same.

    A frozen tower builds no graph: neither its weights nor the pixels ask for gradients.

    Args:
        model: The model.
        inputs: Per query with images the tensors of its processor; at least one.
        counts: Per query, with images or without, the number of its image tokens; None if nobody
            asks which features are whose.

    Raises:
        ModelError: There are more or fewer features than image tokens.
    """
    weight = next(model.get_encoder(modality="image").parameters())
    joined = {name: _join([one[name] for one in inputs]).to(weight.device) for name in inputs[0]}
    joined["pixel_values"] = joined["pixel_values"].to(weight.dtype)
    output = model.base_model.get_image_features(**joined, return_dict=True)
    shallow = _flatten(output.pooler_output)
    if counts is not None and len(shallow) != sum(counts):
        raise ModelError(
            f"{sum(counts)} image tokens in the prompts, {len(shallow)} features from the model: "
            "the processor's settings do not fit config.json"
        )
    return ImageFeatures(
        shallow=shallow,
        deep=[_flatten(layer) for layer in getattr(output, "deepstack_features", None) or ()],
        counts=(len(shallow),) if counts is None else tuple(counts),
    )


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Join along the first axis; smaller ones are filled up with zeros, which models cut off.

    Numbers of tiles and of images, and sides of padded images, may differ.
    """
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    filled = []
    for part in parts:
        missing = [most - own for most, own in zip(largest, part.shape[1:], strict=True)]
        filled.append(F.pad(part, [side for size in reversed(missing) for side in (0, size)]))
    return torch.cat(filled)


def _flatten(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Features ``[tokens, H]`` of all images, however a family groups them."""
    if isinstance(features, Tensor):
        return features.flatten(0, -2)
    return torch.cat([one.flatten(0, -2) for one in features])

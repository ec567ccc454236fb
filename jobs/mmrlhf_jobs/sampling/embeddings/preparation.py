"""Pictures as the pixels that an encoder takes, by the image processor of its model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from transformers import AutoImageProcessor

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.own_code import loading_error
from mmrlhf_jobs.sampling.images.decoders import Preparation

__all__ = ["PixelMaker", "Scaling", "load_preparation"]


@dataclass(frozen=True)
class PixelMaker:
    """Resizes and crops as the model's own image processor does; it goes to other processes.

    Attributes:
        processor: A Hugging Face image processor with the PIL backend.
    """

    processor: Any

    def __call__(self, picture: Image.Image) -> npt.NDArray[np.uint8]:
        """Pixels of one RGB picture, uint8[3, H, W]."""
        found = self.processor(
            images=picture, do_rescale=False, do_normalize=False, return_tensors="np"
        )
        if set(found) != {"pixel_values"}:
            raise ModelError(
                f"{type(self.processor).__name__} gives {sorted(found)}; only processors that give"
                " pixels of one fixed shape are supported"
            )
        pixels: npt.NDArray[np.uint8] = found["pixel_values"][0]
        if pixels.dtype != np.uint8 or pixels.ndim != 3:
            raise ModelError(
                f"{type(self.processor).__name__} gives {pixels.dtype}{list(pixels.shape)} before"
                " scaling; expected uint8[3, H, W]"
            )
        return pixels


@dataclass(frozen=True)
class Scaling:
    """What the processor does to numbers once the pixels are in place.

    Attributes:
        factor: What 0 to 255 is multiplied by.
        mean: Then taken off, one number a channel.
        std: Then divided by, one number a channel.
    """

    factor: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


def load_preparation(folder: Path) -> tuple[Preparation, Scaling, tuple[int, ...]]:
    """Load the image processor of a model folder.

    Returns:
        What is done to each picture in a decoder's process, what is done on the device, and the
        shape of the pixels [3, H, W].

    Raises:
        ModelError: There is none, or it gives no pixels of a fixed shape.
    """
    try:
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        raise loading_error(
            folder, error, f"{folder}: its image processor cannot be loaded: {error}"
        ) from error
    make = PixelMaker(processor)
    shapes = {make(Image.new("RGB", size)).shape for size in ((40, 90), (500, 300))}
    if len(shapes) != 1:
        raise ModelError(
            f"{folder}: its image processor gives pixels of the shapes {sorted(shapes)}; only"
            " models that take one fixed shape are supported"
        )
    scaling = Scaling(
        float(processor.rescale_factor) if processor.do_rescale else 1.0,
        *(
            (tuple(processor.image_mean), tuple(processor.image_std))
            if processor.do_normalize
            else ()
        ),
    )
    modules = (PixelMaker.__module__, type(processor).__module__)
    return Preparation(make, _edge(processor), modules), scaling, shapes.pop()


def _edge(processor: Any) -> int | None:  # noqa: ANN401 - processors share no type
    """The longest that the shorter edge of a picture can become."""
    if not getattr(processor, "do_resize", False):
        return None
    size = dict(processor.size)
    edges = [size[name] for name in ("shortest_edge", "height", "width") if size.get(name)]
    return max(edges, default=None)

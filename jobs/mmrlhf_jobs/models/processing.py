"""Processors on a machine with or without torchvision.

From transformers 5 on, the processors of vision-language models ask for a video processor, and the
video processors ask for torchvision. Where torchvision is absent, this module loads the same
processor class without that part, with the PIL image processor, and turns frames into pixels with
the image processor's own steps. Where torchvision is present, nothing here changes anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, ProcessorMixin
from transformers.image_utils import SizeDict
from transformers.utils import is_torchvision_available

from mmrlhf_jobs.models.own_code import loading_error

__all__ = [
    "TemplateOwner",
    "choose_template",
    "frame_pixels",
    "image_pixels",
    "load_processor",
    "processor_without_video",
]

TemplateOwner = Literal["processor", "tokenizer"]
"""Whose chat template is used where the two differ."""


def processor_without_video(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Derive a processor class that has an image processor and a tokenizer only.

    The derived class keeps the name, so that ``save_pretrained`` writes the name of the real one.
    """

    def get_attributes(cls: type[ProcessorMixin]) -> list[str]:  # noqa: ARG001
        return ["image_processor", "tokenizer"]

    return type(
        processor_class.__name__,
        (processor_class,),
        {"get_attributes": classmethod(get_attributes), "__module__": processor_class.__module__},
    )


def load_processor(folder: Path, processor_class: str) -> ProcessorMixin:
    """Load the processor of a model folder.

    Args:
        folder: Hugging Face model folder.
        processor_class: Name of the class in ``transformers`` to fall back to without torchvision.

    Raises:
        ModelError: The folder lacks the tokenizer or the image-processor files, or brings its own
            code.
    """
    try:
        if is_torchvision_available():
            return AutoProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        transformers = importlib.import_module("transformers")
        reduced = processor_without_video(getattr(transformers, processor_class))
        return reduced.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise loading_error(
            folder,
            error,
            f"{folder}: the tokenizer or the image processor cannot be loaded ({error}); a model "
            "folder needs tokenizer.json, tokenizer_config.json and preprocessor_config.json or "
            "processor_config.json, as save_pretrained of the model's processor writes them",
        ) from error


def choose_template(processor: ProcessorMixin, whose: TemplateOwner) -> str:
    """Make one chat template the processor's, of its own and that of its tokenizer.

    Conversions of LLaVA-OneVision have two that differ: servers render the processor's, and
    programs that know the tokenizer alone the other.

    Returns:
        What to tell people if there was a choice; else empty.
    """
    templates = {
        "processor": getattr(processor, "chat_template", None),
        "tokenizer": processor.tokenizer.chat_template,
    }
    named = [one.get("default") if isinstance(one, dict) else one for one in templates.values()]
    own, other = named
    processor.chat_template = templates[whose] or own or other
    if not own or not other or own == other:
        return ""
    return (
        "the model folder has two chat templates that differ, one of the processor and one of the "
        f"tokenizer; that of the {whose} is used (model.chatTemplate)"
    )


def image_pixels(processor: ProcessorMixin, images: Sequence[Image.Image]) -> dict[str, Tensor]:
    """Turn the images of one sample into pixels.

    The images go in as one nested sample, because processors treat a single image (tiles of any
    resolution) and several images (one tile each) differently.

    Returns:
        The image processor's tensors, such as ``pixel_values``.
    """
    batch = processor.image_processor(images=[list(images)], return_tensors="pt")
    return {name: torch.as_tensor(value) for name, value in batch.items()}


def frame_pixels(processor: ProcessorMixin, frames: Sequence[Image.Image]) -> Tensor:
    """Turn the frames of one video into pixels.

    Returns:
        Pixels of shape ``[1, F, 3, H, W]``, float32.
    """
    video_processor = getattr(processor, "video_processor", None)
    if video_processor is not None:
        batch = video_processor(videos=[list(frames)], return_tensors="pt")
        pixels = torch.as_tensor(batch["pixel_values_videos"])
        return pixels if pixels.dim() == 5 else pixels[None]
    # The steps of the torchvision video processor, in its order: resize to the fixed size, rescale,
    # normalise. No tiles and no padding to a square.
    images = processor.image_processor
    size = SizeDict(**dict(images.size))
    stack = []
    for frame in frames:
        # HWC uint8 -> CHW, the layout of the PIL backend.
        array = np.asarray(frame.convert("RGB")).transpose(2, 0, 1)
        array = images.resize(image=array, size=size, resample=images.resample)
        array = images.rescale(image=array, scale=images.rescale_factor)
        array = images.normalize(image=array, mean=images.image_mean, std=images.image_std)
        stack.append(np.asarray(array, dtype=np.float32))
    return torch.from_numpy(np.stack(stack))[None]

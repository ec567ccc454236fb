"""Processors that are the same on a machine with and without torchvision.

From transformers 5 on, the processors of vision-language models ask for a video processor, and the
video processors ask for torchvision. This module loads the same processor class without that part,
with the PIL image processor, and turns frames into pixels with the image processor's own steps. So
it does where torchvision is present too: pixels are the same everywhere, and a folder that was
written by one machine is read by the other (`tests/torchvision`).
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, ProcessorMixin
from transformers.image_utils import SizeDict
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.own_code import loading_error
from mmrlhf_jobs.reporting.events import Tell

__all__ = [
    "TextProcessor",
    "choose_template",
    "frame_pixels",
    "image_pixels",
    "load_image_processor",
    "load_text_processor",
    "processor_without_video",
]

_CONFIGS = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
"""Files of a model folder that name the class of its processor."""

_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ImportError,
    RecursionError,  # JSON that is nested without end
)
"""What transformers raises over files that it cannot use."""


class TextProcessor(ProcessorMixin):
    """Processor of a model that reads text alone."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - any tokenizer of transformers
        super().__init__(tokenizer=tokenizer)

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Names of its parts."""
        return ["tokenizer"]


def processor_without_video(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Derive a processor class that has an image processor and a tokenizer only.

    The derived class keeps the name, so that ``save_pretrained`` writes the name of the real one.
    """

    def get_attributes(cls: type[ProcessorMixin]) -> list[str]:  # noqa: ARG001
        return ["image_processor", "tokenizer"]

    members: dict[str, Any] = {
        "get_attributes": classmethod(get_attributes),
        "__module__": processor_class.__module__,
    }
    video = inspect.signature(processor_class).parameters.get("video_processor")
    if video is not None and video.default is inspect.Parameter.empty:

        def from_args_and_dict(
            cls: type[ProcessorMixin],
            /,
            args: Any,  # noqa: ANN401
            settings: dict[str, Any],
            **more: Any,  # noqa: ANN401
        ) -> Any:  # noqa: ANN401
            whole = {**settings, **more, "video_processor": None}
            make = processor_class.from_args_and_dict.__func__
            return make(cls, args, whole)

        members["from_args_and_dict"] = classmethod(from_args_and_dict)
    # SmolVLM's asks for num2words, with which it writes how many frames a video has.
    module = sys.modules[processor_class.__module__]
    if getattr(module, "num2words", str) is None:
        module.num2words = str  # type: ignore[attr-defined]
    return type(processor_class.__name__, (processor_class,), members)


def choose_template(processor: ProcessorMixin, whose: TemplateOwner, tell: Tell) -> None:
    """Make one chat template the processor's, of its own and that of its tokenizer.

    Conversions of LLaVA-OneVision have two that differ: servers render the processor's, and
    programs that know the tokenizer alone the other. Whatever loads a model comes through here, so
    that nothing renders a prompt by one of two without a word.

    Args:
        processor: The processor.
        whose: Whose template is used.
        tell: Is told if there was a choice.
    """
    templates = {
        "processor": getattr(processor, "chat_template", None),
        "tokenizer": processor.tokenizer.chat_template,
    }
    named = [one.get("default") if isinstance(one, dict) else one for one in templates.values()]
    own, other = named
    processor.chat_template = templates[whose] or own or other
    if own and other and own != other:
        tell(
            "the model folder has two chat templates that differ, one of the processor and one of"
            f" the tokenizer; that of the {whose} is used (chatTemplate)"
        )


def load_image_processor(
    folder: Path, model_type: str, processor_class: str = ""
) -> ProcessorMixin:
    """Load the processor of a model folder without its video part, with the PIL image processor.

    Args:
        folder: Hugging Face model folder.
        model_type: Of its configuration; tells the class where no file of the folder does.
        processor_class: Name of the class, whatever the folder's files say.

    Raises:
        ModelError: There is no such class, the folder lacks the tokenizer or the image-processor
            files, or brings its own code.
    """
    name = processor_class or _class_name(folder) or PROCESSOR_MAPPING_NAMES.get(model_type)
    found = _find_class(name) if name else None
    if found is None:
        raise ModelError(
            f"{folder}: transformers has no processor {name or f'for models of type {model_type}'};"
            " see processor_class in processor_config.json"
        )
    try:
        return processor_without_video(found).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, backend="pil"
        )
    except _UNREADABLE as error:
        raise loading_error(
            folder,
            error,
            f"{folder}: {name}, the processor, cannot be loaded ({error}); a model folder needs "
            "tokenizer.json, tokenizer_config.json and preprocessor_config.json or "
            "processor_config.json, as save_pretrained of the model's processor writes them",
        ) from error


def load_text_processor(folder: Path) -> ProcessorMixin:
    """Load the tokenizer of a model that reads text alone.

    Raises:
        ModelError: The folder lacks the tokenizer's files, or brings its own code.
    """
    try:
        return TextProcessor(
            AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        )
    except _UNREADABLE as error:
        raise loading_error(
            folder,
            error,
            f"{folder}: the tokenizer cannot be loaded ({error}); a model folder needs "
            "tokenizer.json and tokenizer_config.json, as save_pretrained writes them",
        ) from error


def _class_name(folder: Path) -> str | None:
    """Name of the processor's class, as a file of the folder tells it."""
    for path in (folder / name for name in _CONFIGS):
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["processor_class"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if isinstance(name, str):
            return name
    return None


def _find_class(name: str) -> type[ProcessorMixin] | None:
    """A processor's class, from the module that defines it.

    ``transformers`` itself hands out a stand-in where torchvision is absent.
    """
    named = [model for model, found in PROCESSOR_MAPPING_NAMES.items() if found == name]
    for model in (*named, name.removesuffix("Processor").lower()):
        module = model_type_to_module_name(model)
        try:
            return getattr(_import_processing(module), name)  # type: ignore[no-any-return]
        except (ImportError, AttributeError):
            continue
    return None


def _import_processing(module: str) -> ModuleType:
    """Import the module of a processor, with the PIL image processor in the place of the other.

    Pixtral's takes a function from the module of the one that asks for torchvision; the PIL one
    has it as well.
    """
    package = f"transformers.models.{module}"
    place = f"{package}.image_processing_{module}"
    try:
        return importlib.import_module(f"{package}.processing_{module}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("torchvision"):
            raise
    sys.modules[place] = importlib.import_module(f"{package}.image_processing_pil_{module}")
    try:
        return importlib.import_module(f"{package}.processing_{module}")
    finally:
        del sys.modules[place]


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

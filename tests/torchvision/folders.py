"""Folders of tiny models of all families, and what the project's own code reads from them.

::

    python -m tests.torchvision.folders make FOLDER    one folder a family
    python -m tests.torchvision.folders read FOLDER    beside each, what was read from it
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import is_torchvision_available

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models.loading import load_adapter
from tests.jobs.models.tiny import picture, save_tiny
from tests.jobs.models.zoo import EVERYWHERE, TEXT_ALONE, save

__all__ = ["NAMES", "make", "read"]

ONE_OF_ITS_OWN: Final = "llava_onevision"
NAMES: Final = (ONE_OF_ITS_OWN, *EVERYWHERE)


def make(name: str, folder: Path) -> Path:
    """Write the folder of a family."""
    return save_tiny(folder) if name == ONE_OF_ITS_OWN else save(name, folder)


def read(name: str, folder: Path) -> dict[str, Tensor]:
    """Tokens and pixels of some media, and the digest of the settings that decide about them."""
    adapter = load_adapter(folder)
    one, two = (
        LoadedMedia("image", (picture(50, 30, 1),)),
        LoadedMedia("image", (picture(30, 50, 4),)),
    )
    media: dict[str, list[LoadedMedia]] = {"none": []}
    if name not in TEXT_ALONE:
        media |= {"one": [one], "two": [one, two]}
    if name == ONE_OF_ITS_OWN:
        media["film"] = [LoadedMedia("frames", (picture(40, 30, 2), picture(40, 30, 3)))]
    found = {"settings": torch.tensor(list(adapter.image_settings().encode()))}
    for what, items in media.items():
        group = adapter.encode("what?", items, ["blue", "no"])
        found[f"{what} tokens"] = group.prompt_ids
        found |= {f"{what} {key}": value.contiguous() for key, value in group.media_inputs.items()}
    return found


def write(folder: Path, read_by_name: Mapping[str, dict[str, Tensor]]) -> None:
    """Write what was read, and whether torchvision was there."""
    there = {"torchvision": str(is_torchvision_available())}
    for name, tensors in read_by_name.items():
        save_file(tensors, folder / f"{name}.safetensors", metadata=there)


def main(verb: str, folder: Path) -> None:
    """Entry point of the command line."""
    if verb == "make":
        for name in NAMES:
            make(name, folder / name)
    else:
        write(folder, {name: read(name, folder / name) for name in NAMES})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

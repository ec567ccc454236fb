"""Files of a model folder that are not what they are called: pointers, and weights cut short.

What is told here comes before anything is loaded, with the name of the file. A safetensors file
says in its header how long it is (`Format <https://github.com/huggingface/safetensors#format>`_).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mmrlhf_jobs.errors import ModelError

__all__ = ["check_file"]

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""How a Git LFS pointer begins (git-lfs, ``docs/spec.md``)."""

_LONGEST_HEADER: Final = 100_000_000
"""Bytes; the limit of the safetensors library."""


def check_file(path: Path) -> None:
    """Look at the beginning of a file, and whether a file of weights is as long as it says.

    Raises:
        ModelError: It is a Git LFS pointer, or a safetensors file that is cut short or none.
    """
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
        if start == _POINTER:
            raise ModelError(
                f"{path} is a Git LFS pointer and not the file itself; fetch it, for instance with "
                "`git lfs pull` in a clone, or `hf download MODEL --local-dir FOLDER`"
            )
        if path.suffix != ".safetensors":
            return
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        if size < 8 or (length <= _LONGEST_HEADER and size < 8 + length):
            raise ModelError(_cut(path, f"{size} bytes are there and its header is not whole"))
        try:
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
            ends = [one["data_offsets"][1] for name, one in header.items() if name[:2] != "__"]
            expected = 8 + length + max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(
                f"{path} is no safetensors file, whatever its name says; copy the model again"
            ) from error
    if size < expected:
        raise ModelError(_cut(path, f"{size} of {expected} bytes are there"))


def _cut(path: Path, found: str) -> str:
    return f"{path} is cut short: {found}; copy or download it again"

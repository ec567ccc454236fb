"""Where a run is, as commands take it: a path or a URI, instead of the name of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["as_place"]

_PLACES: Final = ("/", "./", "../", "~")


def as_place(words: Sequence[str]) -> str | None:
    """Return the path or URI that the words of a command are; None if they name a job."""
    if len(words) != 1:
        return None
    (word,) = words
    if "://" in word:
        return word
    if word.startswith(_PLACES) or word in {".", ".."} or Path(word).is_dir():
        return os.path.expanduser(word)  # noqa: PTH111 - as it was written
    return None

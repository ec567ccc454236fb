"""Marks for media in texts: ``<image>`` and ``<video>``, as data sets of the LLaVA family write.

A mark stands for a medium of its row and is no part of the question: the template of the model puts
media in their places. So one that stands for none is a fault, everywhere alike: what a question
about the ``<video>`` tag of HTML means to say, no model that reads such marks can be asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["MARK", "surplus_marks", "without_marks"]

MARK: Final = re.compile(r"<(image|video)(?:-?\d+)?>")


def surplus_marks(text: str, kinds: Sequence[str]) -> str | None:
    """What is wrong with the marks of a text; None if each can stand for a medium.

    Marks of images also stand for videos, as LLaVA-Video writes them.

    Args:
        text: The text.
        kinds: Kind of each medium: ``image``, ``video`` or ``frames``.
    """
    marks = [found[1] for found in MARK.finditer(text)]
    videos = sum(kind != "image" for kind in kinds)
    if marks.count("video") > videos:
        return (
            f"the text holds {marks.count('video')} marks <video> for {videos} videos; take out"
            " those that stand for none"
        )
    if len(marks) > len(kinds):
        return (
            f"the text holds {len(marks)} marks such as <image> for {len(kinds)} media; take out"
            " those that stand for none, or name the media that are missing"
        )
    return None


def without_marks(text: str) -> str:
    """The text without marks."""
    return MARK.sub("", text)

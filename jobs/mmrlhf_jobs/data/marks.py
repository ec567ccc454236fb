"""Marks for media in texts: ``<image>`` and ``<video>``, as data sets of the LLaVA family write.

They may have numbers, ``<image1>``, ``<image_1>``, ``<image 1>`` or ``<image-1>``, which count from
1, or from 0 in a text that has a 0: one that is named again stands for the same medium.

A mark stands for a medium of its row and is no part of the question: the template of the model puts
media in their places. So one that stands for none is a fault, everywhere alike: what a question
about the ``<video>`` tag of HTML means to say, no model that reads such marks can be asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["MARK", "surplus_marks", "without_marks"]

MARK: Final = re.compile(r"<(image|video)(?:[ _-]?(\d{1,4}))?>")


def surplus_marks(text: str, kinds: Sequence[str]) -> str | None:
    """What is wrong with the marks of a text; None if each can stand for a medium.

    Marks of images also stand for videos, as LLaVA-Video writes them.

    Args:
        text: The text.
        kinds: Kind of each medium: ``image``, ``video`` or ``frames``.
    """
    marks = [(found[1], found[2]) for found in MARK.finditer(text)]
    videos = sum(kind != "image" for kind in kinds)
    if (asked := _asked_for("video", marks)) > videos:
        return (
            f"the text holds {asked} marks <video> for {videos} videos; take out"
            " those that stand for none"
        )
    if (asked := asked + _asked_for("image", marks)) > len(kinds):
        return (
            f"the text holds {asked} marks such as <image> for {len(kinds)} media; take out"
            " those that stand for none, or name the media that are missing"
        )
    return None


def _asked_for(kind: str, marks: Sequence[tuple[str, str | None]]) -> int:
    """How many media of a kind marks stand for: those without numbers, and up to the highest."""
    mine = [number for name, number in marks if name == kind]
    numbers = [int(number) for number in mine if number is not None]
    highest = max(numbers) + (0 in numbers) if numbers else 0
    return mine.count(None) + highest


def without_marks(text: str) -> str:
    """The text without marks."""
    return MARK.sub("", text)

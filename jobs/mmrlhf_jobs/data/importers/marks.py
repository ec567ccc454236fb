"""Where media stand in texts: ``<image>`` and ``<video>``, or numbered, as some data sets write.

``<image1>`` (MATH-Vision), ``<image 1>`` (MMMU, and what VL-RewardBench took from it),
``<image_1>`` and MiniCPM-V's ``<image_00>`` name the medium that they stand for. Numbers start at
1, or at 0 in a row that has a 0. A medium that is named again stands there again.

Sources: https://github.com/mathllm/MATH-V (README), https://huggingface.co/datasets/MMMU/MMMU,
``finetune/readme.md`` of https://github.com/OpenBMB/MiniCPM-V.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from mmrlhf_jobs.data.parts import Media

__all__ = ["MARK_KINDS", "Mark", "Piece", "SurplusError", "as_video", "marked", "match_media"]

MARK_KINDS: Final = ("image", "video")
_MARK: Final = re.compile(r"<(image|video|audio)(?:[ _-]?(\d{1,4}))?>")


@dataclass(frozen=True)
class Mark:
    """Where a medium stands in a text.

    Attributes:
        kind: ``image``, ``video``, or ``audio``, which no record holds.
        number: Which one of its kind, as the text has it; None: the next one.
    """

    kind: str
    number: int | None = None


Piece: TypeAlias = str | Mark


class SurplusError(ValueError):
    """Marks and media do not fit each other.

    Attributes:
        mark: Place of the first mark that stands for nothing.
    """

    def __init__(self, reason: str, mark: int) -> None:
        super().__init__(reason)
        self.mark = mark


def marked(text: str) -> tuple[Piece, ...]:
    """A text with marks in it as pieces."""
    pieces: list[Piece] = []
    at = 0
    for found in _MARK.finditer(text):
        number = None if found[2] is None else int(found[2])
        pieces += [text[at : found.start()], Mark(found[1], number)]
        at = found.end()
    return tuple(piece for piece in [*pieces, text[at:]] if piece != "")


def as_video(piece: Piece) -> Piece:
    """The same for rows of videos alone, which the LLaVA family marks by ``<image>`` too."""
    if isinstance(piece, Mark) and piece.kind == "image":
        return replace(piece, kind="video")
    return piece


def match_media(marks: Sequence[Mark], media: Sequence[Media]) -> list[int]:
    """Which medium each mark stands for.

    Args:
        marks: All marks of a row, in order.
        media: All its media, in order.

    Returns:
        Place in ``media`` of each mark's medium.

    Raises:
        SurplusError: A mark stands for no medium, or some of a kind have numbers and others none.
    """
    found: dict[int, int] = {}
    for kind in (*MARK_KINDS, "audio"):
        places = [place for place, mark in enumerate(marks) if mark.kind == kind]
        held = [place for place, medium in enumerate(media) if medium.kind == kind]
        numbered = [place for place in places if marks[place].number is not None]
        if not numbered:
            if len(places) > len(held):
                raise SurplusError(
                    f"{len(places)} <{kind}> stand in the texts for {len(held)} {kind}s of the row",
                    places[len(held)],
                )
            found |= zip(places, held, strict=False)
            continue
        if len(numbered) < len(places):
            raise SurplusError(
                f"some <{kind}> have numbers and others have none, so what they stand for is not"
                " known; write all of them in one way",
                numbered[0],
            )
        found |= _by_number(kind, marks, numbered, held)
    return [found[place] for place in range(len(marks))]


def _by_number(
    kind: str, marks: Sequence[Mark], numbered: Sequence[int], held: Sequence[int]
) -> Mapping[int, int]:
    numbers = {place: marks[place].number or 0 for place in numbered}
    first = 0 if 0 in numbers.values() else 1
    for place, number in numbers.items():
        if number - first >= len(held):
            raise SurplusError(
                f"the mark of {kind} {number} stands in the texts for {len(held)} {kind}s of the"
                " row",
                place,
            )
    return {place: held[number - first] for place, number in numbers.items()}

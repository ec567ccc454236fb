"""What a training has learnt, as numbers of its parameters, whoever holds them.

Every engine keeps the same: of each trained parameter a float32 master, and beside it the moments
of AdamW. They differ in who holds which numbers. So a checkpoint says only which numbers of which
parameter it has, and any engine, stage and number of processes can go on from it (ADR 0027).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch

__all__ = ["MASTER", "Fragment", "Span", "cut", "split"]

MASTER: Final = "master"
"""Kind of the numbers that are trained; the others are as the optimizer calls them."""


class Span(NamedTuple):
    """Numbers of a parameter, flattened: from `start` up to `stop`, which is not one of them."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Fragment:
    """Some numbers of one trained parameter, and what the optimizer keeps of them.

    Attributes:
        name: Name of the parameter in the module.
        start: Place of the first number in the flattened parameter.
        values: Tensors of one length by kind: `MASTER`, and what the optimizer has, such as
            ``exp_avg`` and ``exp_avg_sq``; without these the parameter was never updated.
        step: Updates that the optimizer has made of it.
    """

    name: str
    start: int
    values: Mapping[str, torch.Tensor]
    step: float = 0.0

    @property
    def span(self) -> Span:
        """Which numbers they are."""
        return Span(self.name, self.start, self.start + self.values[MASTER].numel())

    def part(self, start: int, stop: int) -> Fragment:
        """The numbers from `start` up to `stop` of the parameter, as views."""
        values = {
            kind: value[start - self.start : stop - self.start]
            for kind, value in self.values.items()
        }
        return Fragment(self.name, start, values, self.step)


def cut(fragments: Sequence[Fragment], *, rank: int, world_size: int) -> list[Fragment]:
    """The share that one process writes of what all of them hold, as views; about equal shares."""
    total = sum(fragment.values[MASTER].numel() for fragment in fragments)
    low, high = total * rank // world_size, total * (rank + 1) // world_size
    found, place = [], 0
    for fragment in fragments:
        _, start, stop = fragment.span
        first = max(start, start + low - place)
        last = min(stop, start + high - place)
        if first < last:
            found.append(fragment.part(first, last))
        place += stop - start
    return found


def split(fragments: Sequence[Fragment], *, limit: int) -> Iterator[list[Fragment]]:
    """The same fragments in groups of at most `limit` bytes, larger ones split; as views."""
    group: list[Fragment] = []
    room = limit
    for fragment in fragments:
        _, start, stop = fragment.span
        width = sum(value.element_size() for value in fragment.values.values())
        while start < stop:
            if room < width and group:
                yield group
                group, room = [], limit
            end = min(stop, start + max(room // width, 1))
            group.append(fragment.part(start, end))
            room -= (end - start) * width
            start = end
    if group:
        yield group

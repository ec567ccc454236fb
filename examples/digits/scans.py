"""The scanned digits that scikit-learn ships, and their split into train and held-out scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from mmrlhf_jobs.data.records import RankedResponse

__all__ = [
    "INK_MAX",
    "LICENCE",
    "NUM_SCANS",
    "SOURCE",
    "ScanPool",
    "load_scans",
    "pool_of",
    "split_scans",
]

SOURCE = "sklearn.datasets.load_digits"
LICENCE = "CC-BY-4.0"
"""Of the UCI "Optical Recognition of Handwritten Digits" test set, which scikit-learn copies."""
NUM_SCANS = 1797
INK_MAX = 16
"""Ink runs from 0 (paper) to 16: the count of inked pixels in a 4x4 block of the original scan."""


@dataclass(frozen=True)
class ScanPool:
    """Scans of one split, by the digit that they show.

    Attributes:
        split: ``train`` or ``heldout``.
        by_digit: For each digit 0..9, rows of the scikit-learn data set.
    """

    split: str
    by_digit: tuple[tuple[int, ...], ...]

    def draw(self, digit: int, rng: Random) -> int:
        """Picks a scan that shows ``digit``."""
        return rng.choice(self.by_digit[digit])

    @property
    def scans(self) -> frozenset[int]:
        """All rows of this split."""
        return frozenset(row for rows in self.by_digit for row in rows)


@cache
def load_scans() -> tuple[npt.NDArray[np.float64], tuple[int, ...]]:
    """Loads scans ``[1797, 8, 8]`` (ink 0..16) and the digit that each one shows."""
    bunch = load_digits()
    return bunch.images, tuple(int(digit) for digit in bunch.target)


def split_scans(*, seed: int, heldout_fraction: float = 0.2) -> tuple[ScanPool, ScanPool]:
    """Splits the scans into train and held-out, each digit in the same proportion.

    No scan is in both, so a model cannot answer a held-out question by remembering a scan.
    """
    _, digits = load_scans()
    train, heldout = [], []
    for digit in range(10):
        rows = [row for row, shown in enumerate(digits) if shown == digit]
        Random(f"{seed}/split/{digit}").shuffle(rows)
        cut = round(len(rows) * heldout_fraction)
        heldout.append(tuple(sorted(rows[:cut])))
        train.append(tuple(sorted(rows[cut:])))
    return ScanPool("train", tuple(train)), ScanPool("heldout", tuple(heldout))


def pool_of(records: Iterable[RankedResponse]) -> ScanPool:
    """The scans that records show, by their ``source.row_id``."""
    _, digits = load_scans()
    rows = {
        int(row)
        for record in records
        if record.source is not None
        for row in record.source.row_id.split("-")
    }
    return ScanPool(
        "train",
        tuple(tuple(sorted(row for row in rows if digits[row] == digit)) for digit in range(10)),
    )

"""How many records to pick of each type from each cluster.

The paper draws N from each cluster, with N "determined to satisfy the predefined sampling ratios"
(2.2). One N for all falls short where clusters are small, so each type has a level of its own, up
to which its clusters are filled like vessels: small clusters give all they have, the others give
the same number, and the sum is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import DataError

__all__ = ["CATEGORIES", "Quotas", "Shortfall", "apportion", "fill", "plan_quotas"]

Shortfall: TypeAlias = Literal["fail", "accept", "scaleAll"]

CATEGORIES: Final[tuple[Category, ...]] = ("long", "short", "mcq", "safety", "video")
"""Types in the order of the paper's Table 1."""


@dataclass(frozen=True)
class Quotas:
    """How many records to pick.

    Attributes:
        wanted: Records of each type by target and ratio.
        targets: The same after what was done about a shortfall.
        levels: Level N of each type: clusters that have more give N, or N + 1.
        by_cluster: Records to pick of each type, one number a cluster.
    """

    wanted: Mapping[Category, int]
    targets: Mapping[Category, int]
    levels: Mapping[Category, int]
    by_cluster: Mapping[Category, tuple[int, ...]]

    @property
    def total(self) -> int:
        """Records in all."""
        return sum(self.targets.values())


def apportion(total: int, shares: Mapping[Category, float]) -> dict[Category, int]:
    """Divide a total by shares: the method of Webster and Sainte-Lague, ties to the earlier type.

    Each part is a rounded multiple of its share. Unlike with largest remainders, no part shrinks
    when the total grows (the Alabama paradox), which keeps a larger selection a superset.

    Args:
        total: Whole number to divide.
        shares: Non-negative; their sum is above 0.

    Returns:
        Whole numbers that add up to the total.
    """
    whole = sum(Fraction(share) for share in shares.values())
    parts = {name: Fraction(share) / whole for name, share in shares.items()}
    # Rounding moves each part by a half at most, so this many are surely handed out by then.
    sure = max(Fraction(0), total - Fraction(len(parts), 2) - 1)
    given = {name: max(0, math.ceil(part * sure - Fraction(1, 2))) for name, part in parts.items()}
    while sum(given.values()) < total:
        first = max(
            parts,
            key=lambda name: (parts[name] / (2 * given[name] + 1), -CATEGORIES.index(name)),
        )
        given[first] += 1
    return given


def fill(available: Sequence[int], target: int) -> tuple[tuple[int, ...], int]:
    """Take a target evenly from clusters.

    Args:
        available: Records of each cluster.
        target: Records to take; if there are fewer, all are taken.

    Returns:
        Records to take from each cluster, and the level N: the largest number of which
        ``sum(min(available, N))`` does not exceed the target. What is left then is less than the
        number of clusters above N; it goes, one each, to those with most to spare, ties to the
        lowest cluster.
    """
    if target >= sum(available):
        return tuple(available), max(available, default=0)
    low, high = 0, max(available)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(count, middle) for count in available) <= target:
            low = middle
        else:
            high = middle - 1
    taken = [min(count, low) for count in available]
    spare = sorted(
        (cluster for cluster, count in enumerate(available) if count > low),
        key=lambda cluster: (-available[cluster], cluster),
    )
    for cluster in spare[: target - sum(taken)]:
        taken[cluster] += 1
    return tuple(taken), low


def plan_quotas(
    available: Mapping[Category, Sequence[int]],
    *,
    target: int,
    shares: Mapping[Category, float],
    shortfall: Shortfall = "fail",
) -> Quotas:
    """Decide how many records to pick.

    Args:
        available: Records of each type, one number a cluster.
        target: Records in all.
        shares: Ratio of the types; a type without a share is not picked.
        shortfall: What to do when a type has too few records: fail, take fewer of it, or scale
            all types down to keep the ratio.

    Raises:
        DataError: A type has too few records and the shortfall is not accepted; the message names
            each such type, and what would do.
    """
    shares = {name: share for name, share in shares.items() if share > 0}
    wanted = apportion(target, shares)
    there = {name: sum(available.get(name, ())) for name in wanted}
    short = [name for name in wanted if there[name] < wanted[name]]
    targets = dict(wanted)
    if short and shortfall == "fail":
        missing = ", ".join(f"{there[name]} of {wanted[name]} {name}" for name in short)
        largest = _largest_total(target, shares, there)
        raise DataError(
            f"the corpora have too few records of {len(short)} of {len(wanted)} types: {missing};"
            f" with this ratio at most {largest} can be chosen: lower target to that, change"
            " ratio, or set selection.shortfall to accept or scaleAll",
            field="spec.selection.shortfall",
        )
    if short and shortfall == "accept":
        targets = {name: min(there[name], wanted[name]) for name in wanted}
    elif short:
        targets = apportion(_largest_total(target, shares, there), shares)
    filled = {name: fill(available.get(name, ()), targets[name]) for name in targets}
    return Quotas(
        wanted=wanted,
        targets=targets,
        levels={name: level for name, (_, level) in filled.items()},
        by_cluster={name: taken for name, (taken, _) in filled.items()},
    )


def _largest_total(
    target: int, shares: Mapping[Category, float], there: Mapping[Category, int]
) -> int:
    """The largest total, at most the target, whose division is there for every type."""
    whole = sum(Fraction(share) for share in shares.values())
    # No part is more than a half and a rounding of the others above its exact share.
    bound = min((there[name] + 1) * whole / Fraction(share) for name, share in shares.items())
    total = min(target, math.ceil(bound) + len(shares))
    while any(count > there[name] for name, count in apportion(total, shares).items()):
        total -= 1
    return total

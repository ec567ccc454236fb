"""Statistics of a selection: the arithmetic of the paper's Table 1, and how even it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES, Quotas, apportion

__all__ = [
    "PAPER_SHARES_IN",
    "PAPER_TABLE_1",
    "Evenness",
    "Statistics",
    "TypeStatistics",
    "effective_clusters",
    "gini",
    "make_statistics",
    "paper_deviation",
    "plain_counts",
]

PAPER_TABLE_1: Final[Mapping[Category, int]] = {
    "long": 9_575,
    "short": 12_063,
    "mcq": 2_125,
    "safety": 1_999,
    "video": 4_235,
}
"""What the paper chose (Table 1)."""

PAPER_SHARES_IN: Final[Mapping[Category, float]] = {
    "long": 0.1217,
    "short": 0.8368,
    "mcq": 0.0414,
}
"""Shares of the types among its images before (paper 2.2); they add up to 0.9999."""


@dataclass(frozen=True)
class TypeStatistics:
    """One column of the table.

    Attributes:
        available: Candidates.
        share_in: Part of all candidates of the types that are picked, 0 to 1.
        wanted: Records by target and ratio.
        selected: Records that were picked.
        share_out: Part of all that were picked, 0 to 1.
        deviation: ``selected / wanted - 1``; 0 where none were wanted.
        missing: Records that the corpora lack.
        level: Most that a cluster gives, but for remainders (the paper's N).
        saturated: Clusters that gave all they had, and had some.
        plain: What the same N = T / k from every cluster would have given, where T is what was
            wanted and k the number of clusters.
        plain_deviation: ``plain / wanted - 1``.
    """

    available: int
    share_in: float
    wanted: int
    selected: int
    share_out: float
    deviation: float
    missing: int
    level: int
    saturated: int
    plain: int
    plain_deviation: float


@dataclass(frozen=True)
class Evenness:
    """How evenly records lie over the clusters.

    Attributes:
        effective_clusters: Exponential of the entropy: as many equal clusters would be as varied.
        gini: 0 when all clusters are equal, near 1 when one has all.
    """

    effective_clusters: float
    gini: float

    @classmethod
    def of(cls, counts: Sequence[int]) -> Evenness:
        """Of the records of each cluster."""
        return cls(effective_clusters(counts), gini(counts))


@dataclass(frozen=True)
class Statistics:
    """Statistics of a selection.

    Attributes:
        clusters: Number of clusters.
        types: By type, in the order of Table 1.
        evenness_in: Of the candidates of the types that are picked.
        evenness_out: Of what was picked.
        evenness_plain: Of what N = T / k would have given.
    """

    clusters: int
    types: Mapping[Category, TypeStatistics]
    evenness_in: Evenness
    evenness_out: Evenness
    evenness_plain: Evenness

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def make_statistics(available: Mapping[Category, Sequence[int]], quotas: Quotas) -> Statistics:
    """Statistics of what quotas pick.

    Args:
        available: Candidates of each type, one number a cluster.
        quotas: What is picked of them.
    """
    names = [name for name in CATEGORIES if name in quotas.wanted]
    clusters = max((len(available.get(name, ())) for name in names), default=0)
    there = {name: tuple(available.get(name, ())) or (0,) * clusters for name in names}
    plain = {name: plain_counts(there[name], quotas.wanted[name]) for name in names}
    total_in = sum(sum(there[name]) for name in names)
    types = {
        name: TypeStatistics(
            available=sum(there[name]),
            share_in=_part(sum(there[name]), total_in),
            wanted=quotas.wanted[name],
            selected=quotas.targets[name],
            share_out=_part(quotas.targets[name], quotas.total),
            deviation=_deviation(quotas.targets[name], quotas.wanted[name]),
            missing=max(0, quotas.wanted[name] - sum(there[name])),
            level=quotas.levels[name],
            saturated=sum(
                0 < count == taken
                for count, taken in zip(there[name], quotas.by_cluster[name], strict=True)
            ),
            plain=sum(plain[name]),
            plain_deviation=_deviation(sum(plain[name]), quotas.wanted[name]),
        )
        for name in names
    }
    return Statistics(
        clusters=clusters,
        types=types,
        evenness_in=Evenness.of(_sums([there[name] for name in names])),
        evenness_out=Evenness.of(_sums([quotas.by_cluster[name] for name in names])),
        evenness_plain=Evenness.of(_sums([plain[name] for name in names])),
    )


def plain_counts(available: Sequence[int], wanted: int) -> tuple[int, ...]:
    """What the same number from every cluster gives: ``min(available, wanted / k)`` each."""
    if not available:
        return ()
    each, rest = divmod(wanted, len(available))
    return tuple(min(count, each + (cluster < rest)) for cluster, count in enumerate(available))


def paper_deviation(total: int | None = None) -> dict[Category, tuple[int, int, float]]:
    """The paper's own images against its own ratio of 4:5:1.

    Returns:
        For each type what Table 1 says, what the ratio asks for, and the deviation.
    """
    images: tuple[Category, ...] = ("long", "short", "mcq")
    total = total or sum(PAPER_TABLE_1[name] for name in images)
    exact = apportion(total, {"long": 4, "short": 5, "mcq": 1})
    return {
        name: (PAPER_TABLE_1[name], exact[name], _deviation(PAPER_TABLE_1[name], exact[name]))
        for name in images
    }


def effective_clusters(counts: Sequence[int]) -> float:
    """Exponential of the Shannon entropy; 0 without records."""
    total = sum(counts)
    shares = [count / total for count in counts if count]
    return math.exp(-math.fsum(share * math.log(share) for share in shares)) if shares else 0.0


def gini(counts: Sequence[int]) -> float:
    """Gini coefficient: mean absolute difference over twice the mean; 0 without records."""
    total, size = sum(counts), len(counts)
    if total == 0:
        return 0.0
    weighted = sum((place + 1) * count for place, count in enumerate(sorted(counts)))
    return (2 * weighted / total - (size + 1)) / size


def _sums(lists: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*lists, strict=True)]


def _part(count: int, total: int) -> float:
    return count / total if total else 0.0


def _deviation(found: int, wanted: int) -> float:
    return found / wanted - 1 if wanted else 0.0

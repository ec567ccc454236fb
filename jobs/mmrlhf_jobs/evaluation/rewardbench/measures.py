"""ACC and ACC+ of a reward model (paper 3.2, "MM-RLHF-RewardBench").

A pair is right when the preferred response has strictly the higher score: a tie is wrong, as in
the release's ``cal_performance_mmreweard_bench.py``. ACC is the share of right pairs, over all
pairs of a category or of all categories (micro). ACC+ is the share of queries all of whose pairs
are right. A pair without two finite scores is no judgement: it counts in neither and is reported,
and so is its query in ACC+.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.evaluation.rewardbench.queries import BENCHMARKS, BenchQuery
from mmrlhf_jobs.evaluation.rewardbench.rates import Interval, Rate, clustered_interval

__all__ = ["CategoryResult", "JudgedPair", "RewardBenchReport", "measure"]


@dataclass(frozen=True)
class JudgedPair:
    """One pair as the model judged it.

    Attributes:
        query_id: Its query.
        category: Category of the query.
        pair: Indices of the preferred and the other response.
        margin: Score of the preferred response minus that of the other.
    """

    query_id: str
    category: str
    pair: Pair
    margin: float

    @property
    def right(self) -> bool:
        """Whether the preferred response has strictly the higher score."""
        return self.margin > 0


@dataclass(frozen=True)
class CategoryResult:
    """Figures of one category, or of all.

    Attributes:
        acc: Right pairs among the judged ones.
        acc_clustered: 95 % interval of ACC that allows for pairs of one query to depend on each
            other; that of ``acc`` takes them as independent and is too narrow.
        acc_plus: Queries with all pairs right among those with all pairs judged.
        ties: Judged pairs of equal scores; they are wrong.
        failed_pairs: Pairs without two finite scores.
        failed_queries: Queries with such a pair.
        unrankable: Queries about which people have no preference; they are counted nowhere else.
    """

    acc: Rate
    acc_clustered: Interval | None
    acc_plus: Rate
    ties: int
    failed_pairs: int
    failed_queries: int
    unrankable: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "acc": _rate(self.acc),
            "accClustered": _bounds(self.acc_clustered),
            "accPlus": _rate(self.acc_plus),
            "ties": self.ties,
            "failedPairs": self.failed_pairs,
            "failedQueries": self.failed_queries,
            "unrankable": self.unrankable,
        }


@dataclass(frozen=True)
class RewardBenchReport:
    """How a model did.

    Attributes:
        overall: Over all pairs and queries (micro).
        by_category: The same by category: known ones in the order of the paper's tables, then
            others by name.
        acc_plus_by_pairs: ACC+ by the number of a query's pairs; the more, the harder.
        judged: All judged pairs, in the order of the queries.
    """

    overall: CategoryResult
    by_category: Mapping[str, CategoryResult]
    acc_plus_by_pairs: Mapping[int, Rate]
    judged: tuple[JudgedPair, ...]

    @property
    def macro_acc(self) -> float | None:
        """Mean of the categories' ACC, which VL-RewardBench and the paper's Table 5 average by."""
        return _mean(result.acc.value for result in self.by_category.values())

    @property
    def macro_acc_plus(self) -> float | None:
        """Mean of the categories' ACC+."""
        return _mean(result.acc_plus.value for result in self.by_category.values())

    def wrong(self, limit: int) -> tuple[JudgedPair, ...]:
        """Pairs that the model gets wrong, those with the largest margin against people first."""
        wrong = [pair for pair in self.judged if not pair.right]
        return tuple(sorted(wrong, key=lambda pair: pair.margin)[:limit])

    def named(self, prefix: str = "") -> dict[str, float]:
        """Overall figures by wire name, such as ``benchmarkAccPlus``; those of nothing left out."""
        figures = {
            "acc": self.overall.acc.value,
            "accPlus": self.overall.acc_plus.value,
            "pairs": float(self.overall.acc.n),
            "queries": float(self.overall.acc_plus.n),
            "ties": float(self.overall.ties),
            "failedPairs": float(self.overall.failed_pairs),
        }
        return {
            prefix + name[0].upper() + name[1:] if prefix else name: value
            for name, value in figures.items()
            if value is not None
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names, without the single pairs."""
        return {
            "overall": self.overall.to_dict(),
            "macro": {"acc": self.macro_acc, "accPlus": self.macro_acc_plus},
            "byCategory": {name: one.to_dict() for name, one in self.by_category.items()},
            "accPlusByPairs": {
                str(pairs): _rate(rate) for pairs, rate in self.acc_plus_by_pairs.items()
            },
        }


@dataclass(frozen=True)
class _Verdict:
    """One query in numbers."""

    category: str
    pairs: int
    judged: tuple[JudgedPair, ...]

    @property
    def rate(self) -> Rate:
        return Rate(sum(pair.right for pair in self.judged), len(self.judged))

    @property
    def complete(self) -> bool:
        return len(self.judged) == self.pairs


def measure(queries: Iterable[BenchQuery]) -> RewardBenchReport:
    """Compare scores with what people prefer.

    The result does not depend on the order of the queries, but for that of the judged pairs.

    Args:
        queries: See :func:`~mmrlhf_jobs.evaluation.rewardbench.bench_query`.
    """
    verdicts = [_judge(query) for query in queries]
    grouped: dict[str, list[_Verdict]] = defaultdict(list)
    for verdict in verdicts:
        grouped[verdict.category].append(verdict)
    complete = [verdict for verdict in verdicts if verdict.pairs and verdict.complete]
    sizes = Counter(verdict.pairs for verdict in complete)
    right = Counter(verdict.pairs for verdict in complete if verdict.rate.correct == verdict.pairs)
    return RewardBenchReport(
        overall=_result(verdicts),
        by_category={name: _result(grouped[name]) for name in sorted(grouped, key=_place)},
        acc_plus_by_pairs={pairs: Rate(right[pairs], sizes[pairs]) for pairs in sorted(sizes)},
        judged=tuple(chain.from_iterable(verdict.judged for verdict in verdicts)),
    )


def _judge(query: BenchQuery) -> _Verdict:
    margins = [(pair, query.margin(pair)) for pair in query.pairs]
    judged = tuple(
        JudgedPair(query.query_id, query.category, pair, margin)
        for pair, margin in margins
        if margin is not None
    )
    return _Verdict(query.category, len(query.pairs), judged)


def _result(verdicts: Sequence[_Verdict]) -> CategoryResult:
    rated = [verdict for verdict in verdicts if verdict.pairs]
    complete = [verdict for verdict in rated if verdict.complete]
    rates = [verdict.rate for verdict in rated]
    return CategoryResult(
        acc=Rate(sum(rate.correct for rate in rates), sum(rate.n for rate in rates)),
        acc_clustered=clustered_interval(rates),
        acc_plus=Rate(
            sum(verdict.rate.correct == verdict.pairs for verdict in complete), len(complete)
        ),
        ties=sum(pair.margin == 0 for verdict in rated for pair in verdict.judged),
        failed_pairs=sum(verdict.pairs - len(verdict.judged) for verdict in rated),
        failed_queries=len(rated) - len(complete),
        unrankable=len(verdicts) - len(rated),
    )


def _place(category: str) -> tuple[int, str]:
    known = list(chain.from_iterable(BENCHMARKS.values()))
    return (known.index(category) if category in known else len(known)), category


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "value": rate.value,
        "correct": rate.correct,
        "n": rate.n,
        "interval": _bounds(rate.interval),
    }


def _bounds(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None

"""How often a policy finds likelier what people prefer, as the gate reads it.

It is RewardBench with the log-probability of a response in place of a score: ``pairRight`` says
``log pi(y_w|x) > log pi(y_l|x)``, the ranking accuracy of arXiv 2405.19534. Nothing is divided by
its length and no reference policy is asked, so that two policies are compared by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.evaluation.gate.bench import PAIR_RIGHT, QUERY_RIGHT
from mmrlhf_jobs.evaluation.rewardbench.measures import RewardBenchReport, measure
from mmrlhf_jobs.evaluation.rewardbench.queries import BenchQuery, bench_query
from mmrlhf_jobs.scores.keys import record_keys

__all__ = ["MARGIN", "Likely", "gate_results", "measure_preferences"]

MARGIN = "preferenceMargin"
"""``log pi(y_w|x) - log pi(y_l|x)`` of a pair, nats; a row a pair."""

Likely = tuple[RankedResponse, Sequence[float | None]]
"""A record, and the log-probability of each of its responses, nats; None where none is needed."""


def measure_preferences(found: Sequence[Likely]) -> RewardBenchReport:
    """Shares of pairs and of queries that a policy gets right, by category."""
    return measure(bench_query(record, values) for record, values in found)


def gate_results(found: Sequence[Likely], *, artifact: str | None) -> dict[str, Any]:
    """GateResults/v1: a row a pair and a row a query; queries without a pair are left out.

    Args:
        found: Records with what the policy finds.
        artifact: Digest of the policy's artifact; None where it is none.
    """
    data = hashlib.sha256()
    rows: list[dict[str, Any]] = []
    for record, values in found:
        for key in record_keys(record):
            data.update(key)
        rows += _rows(bench_query(record, values))
    return {
        "version": "GateResults/v1",
        "data": data.hexdigest(),
        **({} if artifact is None else {"artifact": artifact}),
        "rows": rows,
    }


def _rows(query: BenchQuery) -> list[dict[str, Any]]:
    margins = [query.margin(pair) for pair in query.pairs]
    rows: list[dict[str, Any]] = [
        {
            "query": query.query_id,
            "row": f"{pair.chosen} over {pair.rejected}",
            "figures": {PAIR_RIGHT: None if margin is None else margin > 0, MARGIN: margin},
        }
        for pair, margin in zip(query.pairs, margins, strict=True)
    ]
    if rows:
        whole = None if None in margins else all(one is not None and one > 0 for one in margins)
        rows.append({"query": query.query_id, "figures": {QUERY_RIGHT: whole}})
    return rows

"""RewardBench: how often a reward model ranks as people do (paper 3.2, Tables 4 and 5).

Records and scores go in, a report comes out; nothing here imports torch::

    queries = [bench_query(record, scores) for record, scores in ...]
    report = measure(queries)
    report.overall.acc.value, report.overall.acc_plus.interval
    report.named("benchmark")   # figures for a job's status
    report.to_dict()            # for JSON

On the command line, from records and a side-car of scores::

    python -m mmrlhf_jobs bench bench.jsonl --scores rewards.parquet
"""

from __future__ import annotations

from mmrlhf_jobs.evaluation.rewardbench.measures import CategoryResult, RewardBenchReport, measure
from mmrlhf_jobs.evaluation.rewardbench.queries import BenchQuery, bench_query
from mmrlhf_jobs.evaluation.rewardbench.rates import Rate

__all__ = [
    "BenchQuery",
    "CategoryResult",
    "Rate",
    "RewardBenchReport",
    "bench_query",
    "measure",
]

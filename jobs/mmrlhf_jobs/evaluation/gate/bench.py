"""RewardBench of two reward models as evidence: records and a side-car of scores each."""

from __future__ import annotations

import hashlib

from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.evaluation.gate.evidence import Column, Model, RowKey
from mmrlhf_jobs.evaluation.rewardbench.queries import bench_query
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["PAIR_RIGHT", "QUERY_RIGHT", "measure_bench"]

PAIR_RIGHT = "pairRight"
"""Is a pair right? ACC of the paper's Table 4; a row a pair."""
QUERY_RIGHT = "queryRight"
"""Are all pairs of a query right? ACC+; a row a query."""


def measure_bench(records: str, scores: str, storage: StorageOptions | None = None) -> Model:
    """Look what a reward model gets right of what people prefer.

    A pair without a score has no value, so that nothing is judged by it. Queries about which people
    have no preference are left out.

    Args:
        records: RankedResponse/v1.
        scores: Side-car of the model's scores.
        storage: Where the object store is.

    Raises:
        InputError: A row is no record, or the side-car is not one of scores.
    """
    sidecar = Sidecar.open(scores, SidecarIdentity(kind="reward"), storage=storage)
    pairs: dict[RowKey, float | None] = {}
    queries: dict[RowKey, float | None] = {}
    data = hashlib.sha256()
    faults = RowFaults()
    for record in stream_records(Source(records, storage=storage), faults):
        keys = record_keys(record)
        for key in keys:
            data.update(key)
        lacking = set(sidecar.lacking(keys))
        found = [
            None if place in lacking else float(sidecar.lookup([key])[0])
            for place, key in enumerate(keys)
        ]
        query = bench_query(record, found)
        right = []
        for pair in query.pairs:
            margin = query.margin(pair)
            value = None if margin is None else float(margin > 0)
            pairs[record.record_id, f"{pair.chosen} over {pair.rejected}"] = value
            right.append(value)
        if right:
            queries[record.record_id, ""] = None if None in right else float(all(right))
    faults.check(0.0)
    digest = data.hexdigest()
    figures = {PAIR_RIGHT: Column(digest, pairs), QUERY_RIGHT: Column(digest, queries)}
    return Model(figures, unnamed=1)  # a side-car tells the state of a model, and no artifact

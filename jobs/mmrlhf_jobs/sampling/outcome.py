"""What a finished sampling leaves behind."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_api import job_dict, spec_digest
from mmrlhf_jobs.reporting.manifest import SCHEMA, environment
from mmrlhf_jobs.sampling.budgets import sum_counts
from mmrlhf_jobs.sampling.context import Stages
from mmrlhf_jobs.sampling.corpora.drops import count_rows
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.sampling.losses import SourceLosses, loss_metrics
from mmrlhf_jobs.sampling.parts import Part
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES, Quotas
from mmrlhf_jobs.sampling.selection.records import RECORDS_FILE
from mmrlhf_jobs.sampling.selection.statistics import Statistics, paper_deviation
from mmrlhf_jobs.sampling.selection.table import Candidates

__all__ = ["Outcome", "write_manifest", "write_results"]


@dataclass(frozen=True)
class Outcome:
    """All that the stages found.

    Attributes:
        run_id: Name of the selection.
        splits: Files that were read.
        rows: Parts of the read stage, one a split.
        media: Parts of the embed stage, one a block.
        candidates: Parts of the join stage, one a block.
        pools: Parts of the pool stage, one a bucket.
        centres: Part with the centres.
        encoder: Key of the encoder.
        picked: What was picked, in the order of record ids.
        quotas: How many were.
        statistics: Statistics of it.
        records: Parts with the records.
        losses: What became of the rows of each source.
    """

    run_id: str
    splits: tuple[Split, ...]
    rows: tuple[Part, ...]
    media: tuple[Part, ...]
    candidates: tuple[Part, ...]
    pools: tuple[Part, ...]
    centres: Part
    encoder: str
    picked: Candidates
    quotas: Quotas
    statistics: Statistics
    records: tuple[Part, ...]
    losses: tuple[SourceLosses, ...]


def write_results(stages: Stages, outcome: Outcome) -> str:
    """Write queries, selection and statistics; return the SHA-256 of the queries.

    Memory is that of the chosen records.
    """
    results = stages.results
    with results.new_file("queries.jsonl") as path:
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for line in _lines(outcome):
                digest.update(line)
                file.write(line)
    with results.new_file("selection.parquet") as path:
        pq.write_table(_selection(outcome), path, compression="zstd")
    statistics = {
        "schema": "mmrlhf.io/sampling-statistics/v1",
        "counts": _counts(outcome),
        "sources": {one.source: one.to_dict() for one in outcome.losses},
        **outcome.statistics.to_dict(),
        "paper": {
            name: {"table1": there, "ratio": exact, "deviation": off}
            for name, (there, exact, off) in paper_deviation().items()
        },
    }
    results.write_text("statistics.json", json.dumps(statistics, indent=2, sort_keys=True) + "\n")
    return digest.hexdigest()


def write_manifest(
    stages: Stages,
    outcome: Outcome,
    queries: str,
    lineage: Mapping[str, Any],
    attempts: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """Write the record of the run and put all in place; return the figures of the status.

    Args:
        stages: The world.
        outcome: What was found.
        queries: SHA-256 of the queries.
        lineage: What the job named as its inputs, by digest.
        attempts: All of the run.
    """
    counts = _counts(outcome)
    metrics = _metrics(outcome, counts)
    manifest = {
        "schema": SCHEMA,
        "job": job_dict(stages.job),
        "specDigest": spec_digest(stages.job),
        "runId": outcome.run_id,
        "lineage": dict(lineage),
        "inputs": [
            _input(split, part) for split, part in zip(outcome.splits, outcome.rows, strict=True)
        ],
        "encoder": outcome.encoder,
        "clustering": dict(outcome.centres.facts),
        "counts": counts,
        "quotas": asdict(outcome.quotas),
        "queries": {"records": len(outcome.picked), "sha256": queries},
        "seed": stages.job.spec.selection.seed,
        "processes": stages.runtime.world_size,
        "metrics": metrics,
        "environment": environment(),
        "attempts": list(attempts),
    }
    stages.results.conclude(manifest)
    return metrics


def _lines(outcome: Outcome) -> Iterator[bytes]:
    """Lines of all records, in the order of their ids."""
    heap: list[tuple[str, bytes]] = []
    for part in outcome.records:
        with part.open(RECORDS_FILE) as file:
            heap.extend((json.loads(line)["record_id"], line) for line in file)
    heapq.heapify(heap)
    while heap:
        yield heapq.heappop(heap)[1]


def _selection(outcome: Outcome) -> pa.Table:
    """Why each record was chosen; the columns of where it stood are no part of it."""
    picked = outcome.picked
    categories = [CATEGORIES[number] for number in picked.category]
    quotas = outcome.quotas.by_cluster
    return pa.table(
        {
            "record_id": [bytes(each).decode() for each in picked.record_id],
            "category": categories,
            "cluster": picked.cluster,
            "distance": picked.distance,
            "key": picked.key,
            "quota": pa.array(
                [
                    quotas[name][cluster]
                    for name, cluster in zip(categories, picked.cluster, strict=True)
                ],
                pa.int64(),
            ),
            "media_sha256": [bytes(each).ljust(32, b"\0").hex() for each in picked.media],
        }
    )


def _counts(outcome: Outcome) -> dict[str, dict[str, int]]:
    """Counts of each stage by name."""
    return {
        "read": sum_counts(outcome.rows),
        "embed": sum_counts(outcome.media),
        "join": sum_counts(outcome.candidates),
        "pool": sum_counts(outcome.pools),
        "select": {"selected": len(outcome.picked)},
    }


def _metrics(outcome: Outcome, counts: dict[str, dict[str, int]]) -> dict[str, float]:
    found: dict[str, float] = {
        "rowsRead": float(count_rows(counts["read"])),
        "rowsSelected": float(len(outcome.picked)),
        "media": float(counts["embed"].get("media", 0)),
        "effectiveClusters": outcome.statistics.evenness_out.effective_clusters,
        "gini": outcome.statistics.evenness_out.gini,
    }
    for name, one in outcome.statistics.types.items():
        found[f"{name}Selected"] = float(one.selected)
        found[f"{name}Deviation"] = one.deviation
    return found | loss_metrics(outcome.losses)


def _input(split: Split, part: Part) -> dict[str, Any]:
    return {
        "source": split.corpus.name,
        "uri": split.uri,
        "format": split.format,
        "size": split.fingerprint.size,
        "version": split.fingerprint.version,
        "sha256": part.facts["sha256"],
        "counts": dict(part.counts),
    }

"""The ledger of an improvement: rows in are records, queries without a pair and rows by reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.data.media import LoadedMedia, load_media
from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.improvement import improvement
from mmrlhf_jobs.improvement.groups import Sample, judge_sample
from mmrlhf_jobs.improvement.rounds import ImprovementReport, rank_samples, sample_queries
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.storage.journal import Journal
from tests.unit.data.builders import IMAGE, IMAGE_SHA256, save_image, write_rows

ALONE = Runtime(rank=0, world_size=1, device=torch.device("cpu"))
SAMPLES = ["Two.", "Three dogs.", "Two.", "<think>Two?</think>Four.", "<think>Two", "[answer]"]


class Policy:
    """Gives the samples above; questions of more than 20 characters are too long."""

    def key(self, query: QueryRecord) -> str:
        return query.record_id

    def origins(self, query: QueryRecord) -> list[ModelOrigin]:
        return [ModelOrigin(name="m")] * len(SAMPLES)

    def sample(self, queries: Sequence[tuple[QueryRecord, Any]]) -> list[list[Sample]]:
        return [[judge_sample(_told(query, text)) for text in SAMPLES] for query, _ in queries]

    def check(self, query: QueryRecord, load: Callable[[], Any]) -> None:
        if len(query.query.text) > 20:
            raise DataError(
                "9 tokens, but the policy takes 8", field="query.text", fault="too-long"
            )


def _told(query: QueryRecord, text: str) -> str:
    return "Same." if query.query.text == "Alike?" else text


@dataclass(frozen=True)
class Length:
    score: float


class Scorer:
    """Takes texts of 9 characters at most, and prefers long ones."""

    def identity(self) -> SidecarIdentity:
        return SidecarIdentity(kind="reward", model="length")

    def score(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str], /
    ) -> list[Length]:
        if question == "Long to score?" or any(len(text) > 9 for text in responses):
            raise DataError("does not fit", field="responses[0].text", fault="too-long")
        return [Length(len(text)) for text in responses]


def fields(name: str, text: str = "Which?", **medium: str) -> dict[str, Any]:
    return {
        "schema": QUERY_SCHEMA, "record_id": name, "domain": "image", "type": "short",
        "query": {"text": text},
        "media": [{"uri": "image.png", "sha256": IMAGE_SHA256, **medium}],
    }  # fmt: skip


def write(folder: Path) -> Path:
    save_image(folder)
    (folder / "cut.png").write_bytes(IMAGE[:45])
    digest = hashlib.sha256(IMAGE[:45]).hexdigest()
    (folder / "soon gone.png").write_bytes(IMAGE)
    rows: list[dict[str, Any] | bytes] = [
        fields("good"),
        b"{",
        fields("cut", uri="cut.png", sha256=digest),
        b"",
        fields("alike", "Alike?"),
        fields("long", "Which of all these dogs is it?"),
        fields("good"),
        fields("gone", uri="soon gone.png"),
        fields("unscored", "Long to score?"),
    ]
    return write_rows(folder / "in.jsonl", rows)


def run(folder: Path, *, fraction: float, part: tuple[int, int] = (0, 1)) -> ImprovementReport:
    """As `improve`, without models."""
    source = Source(str(write(folder)))
    policy = Policy()

    def load(query: QueryRecord) -> Sequence[LoadedMedia]:
        return load_media(query, str(folder))

    asked = SimpleNamespace(part=part, batch_size=1, max_invalid_fraction=fraction)
    context = SimpleNamespace(runtime=ALONE, interruption=None, progress=None)
    batches = improvement._Batches(
        source, cast("Any", asked), cast("Any", context), cast("Any", policy), load
    )
    (folder / "soon gone.png").unlink(missing_ok=True)
    report = ImprovementReport()
    with Journal(folder / "journal") as journal:
        sample_queries(
            batches.queries(), policy, journal, load=load, report=report, refuse=batches.refuse
        )
        batches.leave_out()
        ranked = list(
            rank_samples(batches.queries(), policy, Scorer(), journal, load=load, report=report)
        )
    report.rows, report.invalid = batches.faults.rows, dict(batches.faults.counts)
    assert report.records == len(ranked)
    return report


def check(report: ImprovementReport) -> None:
    assert report.rows == report.queries + sum(report.invalid.values())
    assert report.queries == report.records + report.no_pair.total()
    # Duplicates of a text are in its response; of queries without a pair nothing is.
    assert report.samples == len(SAMPLES) * report.queries


def test_rows_and_samples_are_all_accounted_for(tmp_path: Path) -> None:
    report = run(tmp_path, fraction=0.7)
    check(report)
    assert report.rows == 8
    assert report.invalid == {
        "schema": 1, "undecodable": 2, "too-long": 1, "duplicate": 1,
    }  # fmt: skip
    assert (report.records, dict(report.no_pair)) == (1, {"identical": 1, "tooLongToScore": 1})
    # Two queries were answered by all samples: each has one unfinished thought, one placeholder.
    assert report.flaws == {"unfinishedThought": 2, "placeholder": 2}
    assert report.reasoned == 4
    assert report.too_long_to_score == 1 + 3
    json.dumps(report.to_dict())


def test_all_rows_at_fault_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 of 8 rows are invalid") as early:
        run(tmp_path, fraction=0.4)
    for row in (2, 3, 6, 7):
        assert f"in.jsonl, row {row}" in str(early.value)
    with pytest.raises(DataError, match="5 of 8 rows are invalid") as late:
        run(tmp_path, fraction=0.5)
    assert "in.jsonl, row 8, field media" in str(late.value)


def test_parts_are_of_rows_and_count_none_twice(tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        parts.append(run(folder, fraction=0.8, part=(number, 2)))
        check(parts[-1])
    assert [part.rows for part in parts] == [4, 4]
    assert sum(part.invalid["schema"] for part in parts if "schema" in part.invalid) == 1

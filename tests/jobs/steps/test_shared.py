"""Steps that the processes of torchrun share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from tests.jobs.features.runs import counted_runs
from tests.jobs.improvement.test_command import arguments, models
from tests.jobs.training.world import make_record, write_records
from tests.jobs.warm import Program

__all__ = ["arguments", "models"]  # fixtures

pytestmark = pytest.mark.usefixtures("own_signals")
QUERIES = 6
BOTH = ("policy", "reward model")


def split(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a report says of the results, and of how often towers ran for them."""
    report = json.loads(text)
    return report, report.pop("visionFeatures")


def test_processes_share_an_improvement(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes make what one makes, each query by one of them, each image once."""
    assert main(["improve", *arguments]) == 0
    alone, features = split(capsys.readouterr().out)
    out, scores = tmp_path / "out.jsonl", tmp_path / "out.jsonl.scores.parquet"
    expected = out.read_bytes(), scores.read_bytes()
    for path in (out, scores, tmp_path / "out.jsonl.journal"):
        path.unlink()
    program = Program("mmrlhf_jobs", ["improve", *arguments], os.environ, processes=2)
    output, errors = program.communicate()
    assert program.wait() == 0, errors
    assert (out.read_bytes(), scores.read_bytes()) == expected
    together, shared = split(output)
    assert together == alone
    assert alone["sampledNow"] == QUERIES
    assert "rank 1 of 2 has ended well" in errors
    # The reward model has the policy's tower, and scores after all is sampled.
    for found in (features, shared):
        assert found["models"] == dict.fromkeys(BOTH, "")
        assert found["misses"] == QUERIES
        assert found["hits"] + found["hitsFromDisk"] >= QUERIES
    assert f"vision towers ran for {QUERIES} media" in errors


def test_a_file_improves_as_the_command_line_does(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With and without kept features: the same bytes, of half as many runs."""
    with counted_runs() as runs:
        assert main(["improve", *arguments]) == 0
    assert len(runs) == QUERIES
    alone, _ = split(capsys.readouterr().out)
    queries, out, _, policy, _, reward, *_ = arguments
    scores = tmp_path / "out.jsonl.scores.parquet"
    expected = Path(out).read_bytes(), scores.read_bytes()
    step = {
        "step": "improve",
        "queries": queries,
        "out": str(tmp_path / "again.jsonl"),
        "policy": policy,
        "reward": reward,
        "maxNewTokens": 24,
        "temperature": 1.0,
        "storage": {"endpoint": "http://127.0.0.1:1"},
        "resources": {"featureCache": "off"},
    }
    (tmp_path / "step.yaml").write_text(yaml.safe_dump(step))
    with counted_runs() as runs:
        assert main(["step", str(tmp_path / "step.yaml")]) == 0
    assert len(runs) >= 2 * QUERIES  # and once more for the comparison of the first
    again, features = split(capsys.readouterr().out)
    assert again == alone
    assert features == {"models": dict.fromkeys(BOTH, "resources.featureCache is off")}
    scores = tmp_path / "again.jsonl.scores.parquet"
    assert ((tmp_path / "again.jsonl").read_bytes(), scores.read_bytes()) == expected


def test_scoring_runs_the_tower_once_for_each_image(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several questions about one image too, whatever may be kept."""
    records = [make_record(tmp_path, number) for number in range(QUERIES)]
    for number, record in enumerate(records[1:3]):
        record["media"] = records[0]["media"]
        record["query"]["text"] += f" And {number} more?"
    write_records(tmp_path / "data.jsonl", records)
    step = {
        "step": "score",
        "model": str(models / "reward"),
        "data": str(tmp_path / "data.jsonl"),
        "out": str(tmp_path / "scores.parquet"),
        # Each query by itself: with others, only rounding would differ.
        "batchTokens": 1,
    }

    def score(**resources: str) -> tuple[dict[str, Any], dict[str, Any], int, bytes]:
        (tmp_path / "step.yaml").write_text(yaml.safe_dump({**step, "resources": resources}))
        with counted_runs() as runs:
            assert main(["step", str(tmp_path / "step.yaml")]) == 0
        made = (tmp_path / "scores.parquet").read_bytes()
        (tmp_path / "scores.parquet").unlink()
        return *split(capsys.readouterr().out), len(runs), made

    report, features, runs, scores = score()
    responses = sum(len(record["responses"]) for record in records)
    assert report == {
        "rows": QUERIES,
        "records": QUERIES,
        "invalid": {},
        "tied": 0,
        "responses": responses,
        "computed": responses,
        "cutCritiques": 0,
    }
    assert runs == features["misses"] == QUERIES - 2
    assert features["models"] == {"reward model": ""}
    assert features["hits"] > 2  # the comparison on the first queries has some
    on_disk = score(featureMemory="1")
    assert (on_disk[2], on_disk[3]) == (QUERIES - 2, scores)
    assert on_disk[1]["hitsFromDisk"] == features["hits"]
    off = score(featureCache="off")
    assert off[0] == report
    assert off[2] > QUERIES
    assert off[3] == scores

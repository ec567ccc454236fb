"""Scoring as a step of its own: shared, resumed, refused, and inside an MM-DPO run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import SidecarError
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.parts import SidecarParts, Valued
from mmrlhf_jobs.scores.passes import Item
from mmrlhf_jobs.training.reward.scoring import QUERIES_PER_PART, RewardScoring
from tests.jobs.reward.test_reward_model import write as write_reward_model
from tests.jobs.training.world import World, make_record, write_records
from tests.jobs.warm import Program

QUERIES = 24
AGAIN = 17
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def judge(template: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model that nobody trained: its scores differ, which is all that counts here."""
    return write_reward_model(tmp_path_factory.mktemp("judge") / "model", template.folder / "model")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Queries, one of which repeats another one's responses; both are in the second part."""
    folder = tmp_path_factory.mktemp("records")
    made = [make_record(folder, index) for index in range(QUERIES)]
    made.insert(AGAIN, {**made[5], "record_id": "again"})
    write_records(folder / "data.jsonl", made)
    return folder / "data.jsonl"


def arguments(judge: Path, records: Path, out: Path) -> list[str]:
    return [*("score", "--model", str(judge), "--data", str(records), "--out", str(out))]


def rows(path: Path) -> dict[bytes, dict[str, Any]]:
    table = pq.read_table(path).to_pylist()
    by_key = {row["key"]: row for row in table}
    assert len(by_key) == len(table)
    return by_key


@pytest.fixture(scope="module")
def whole(
    one_thread: None, judge: Path, records: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Scores that were made without an interruption."""
    out = tmp_path_factory.mktemp("scores") / "scores.parquet"
    assert main(arguments(judge, records, out)) == 0
    assert not out.with_name("scores.parquet.parts").exists()
    return out


def start(command: list[str], log: Path, *, processes: int) -> Program:
    env = {**os.environ, "MMRLHF_PROGRESS_FILE": str(log)}
    return Program("mmrlhf_jobs", command, env, processes=processes)


def done(log: Path) -> dict[str, Any]:
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "done"]
    metrics: dict[str, Any] = event["metrics"]
    return metrics


def test_every_response_is_scored_once_with_its_critique(whole: Path) -> None:
    found = rows(whole)
    assert len(found) == 4 * QUERIES
    assert all(row["critique"] is not None for row in found.values())
    assert len({row["value"] for row in found.values()}) > 60


@pytest.fixture(scope="module")
def killed(judge: Path, records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a kill leaves when the second part is scored and not yet written, the worst moment."""
    folder = tmp_path_factory.mktemp("killed")
    reached, out = folder / "reached", folder / "scores.parquet"
    command = [str(reached), *arguments(judge, records, out)]
    process = Program("tests.jobs.reward.held", command, os.environ)
    try:
        while not reached.exists() and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed and did not end"
    assert not out.exists()
    return folder


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> tuple[Path, set[bytes]]:
    """The same for a test of its own: where the scores will be, and the keys that are done."""
    shutil.copytree(killed, tmp_path / "killed")
    out = tmp_path / "killed" / "scores.parquet"
    (part,) = out.with_name("scores.parquet.parts").rglob("*.parquet")
    done = set(rows(part))
    assert len(done) == 4 * QUERIES_PER_PART, "the whole first part, and nothing of the second"
    return out, done


LEFT = 4 * (QUERIES - QUERIES_PER_PART)


def test_a_kill_loses_the_part_at_work_and_repeats_nothing(
    judge: Path,
    records: Path,
    whole: Path,
    left: tuple[Path, set[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, done_before = left
    scored: list[bytes] = []
    score = RewardScoring.score

    def noted(self: RewardScoring, items: Sequence[Item]) -> list[Valued]:
        values = score(self, items)
        scored.extend(value.key for value in values)
        return values

    monkeypatch.setattr(RewardScoring, "score", noted)
    assert main(arguments(judge, records, out)) == 0
    assert len(scored) == len(set(scored)) == LEFT
    assert not done_before & set(scored)
    assert rows(out) == rows(whole), "bit by bit"
    assert main(arguments(judge, records, out)) == 0
    assert len(scored) == LEFT, "now all is there"


def test_processes_share_what_is_left(
    judge: Path, records: Path, whole: Path, left: tuple[Path, set[bytes]], tmp_path: Path
) -> None:
    out, done_before = left
    again = json.loads(records.read_text().splitlines()[AGAIN])
    assert again["record_id"] == "again"
    repeated = record_keys(RankedResponse.model_validate(again))
    assert not done_before & set(repeated), "the repeated query is one of those to share"
    log = tmp_path / "progress.jsonl"
    assert start(arguments(judge, records, out), log, processes=2).wait(timeout=600) == 0
    assert done(log)["computed"] == LEFT, "the repeated query is scored by one of them"
    assert done(log)["responses"] == 4 * QUERIES
    found, expected = rows(out), rows(whole)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key]["critique"] == row["critique"]
        assert found[key]["value"] == pytest.approx(row["value"], rel=1e-4, abs=1e-5)


def test_small_batches_give_the_same_scores(
    judge: Path, records: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    assert main([*arguments(judge, records, out), "--batch-tokens", "1"]) == 0
    expected = rows(whole)
    for key, row in rows(out).items():
        assert row["value"] == pytest.approx(expected[key]["value"], rel=1e-4, abs=1e-5)


def test_scores_of_another_way_of_scoring_are_not_mixed(
    judge: Path, records: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = whole.read_bytes()
    assert main([*arguments(judge, records, whole), "--critique", "none"]) == 2
    message = capsys.readouterr().err
    assert str(whole) in message
    assert "template" in message
    assert whole.read_bytes() == before


def test_ground_truth_that_is_missing_is_named(
    judge: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in records.read_text().splitlines()[:3]]
    del lines[1]["responses"][2]["critique"]
    data = tmp_path / "data.jsonl"
    write_records(data, lines)
    command = [*arguments(judge, data, tmp_path / "out.parquet"), "--critique", "groundTruth"]
    assert main([*command, "--media-root", str(records.parent)]) == 2
    message = capsys.readouterr().err
    assert "data.jsonl, row 2, field responses[2].critique" in message


def test_a_value_that_is_not_finite_is_no_part(tmp_path: Path) -> None:
    parts = SidecarParts(str(tmp_path / "parts"), SidecarIdentity(kind="reward"))
    parts.write([Valued(b"a" * 32, 1.0, "r", "a"), Valued(b"b" * 32, 2.0, "r", "b")])
    with pytest.raises(SidecarError, match="no finite score"):
        parts.write([Valued(b"c" * 32, float("nan"), "r", "c")])
    assert parts.keys() == {b"a" * 32, b"b" * 32}
    assert parts.merge(str(tmp_path / "out.parquet")) == 2


def test_mmdpo_scores_with_a_model_once_and_reports_it(
    judge: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Policy and reward model are divided over two processes."""
    reward = {"modelUri": str(judge)}
    job = world.job(reward=reward, training__maxSteps=2, parallelism__zeroStage=3)
    run = world.run(job, processes=2)
    assert run.code == 0, run.stderr
    manifest = json.loads((world.results() / "manifest.json").read_text())
    rewards = manifest["rewards"]
    assert rewards["pairs"] == 75
    assert rewards["disagreement"] == rewards["disagreements"] / rewards["pairs"] > 0
    assert manifest["metrics"]["rewardDisagreement"] == rewards["disagreement"]
    assert sum(rewards["betaHistogram"]["counts"]) == rewards["pairs"]
    (cached,) = (world.folder / "artifacts/cache/reward").glob("*/*/reward.parquet")
    written = cached.stat().st_mtime_ns
    again = world.job(reward={"modelUri": str(judge)}, training__maxSteps=1)
    again["metadata"]["name"] = "other"
    assert main(["mmdpo", "--job", str(world.write_job(again))]) == 0, capsys.readouterr().err
    assert cached.stat().st_mtime_ns == written


def test_every_missing_score_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    world.write_rewards(records[:5] + records[6:9] + records[10:])
    assert main(["mmdpo", "--job", str(world.write_job(world.job()))]) == 2
    message = capsys.readouterr().err
    assert "has no score for 8 responses" in message
    for row, record in ((6, "r5"), (10, "r9")):
        assert f"train.jsonl, row {row}: record '{record}', response 'a'" in message


def test_rows_without_a_score_are_left_out_within_their_budget(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    world.write_rewards(records[:5] + records[6:9] + records[10:])
    job = world.job(training__maxSteps=1, data__maxInvalidFraction=0.2)
    assert main(["mmdpo", "--job", str(world.write_job(job))]) == 0, capsys.readouterr().err
    manifest = json.loads((world.results() / "manifest.json").read_text())
    report = manifest["data"]
    assert report["invalid"] == {"no-score": 2}
    assert report["rows"] == len(records)

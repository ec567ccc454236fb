"""Steps that the processes of torchrun share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from tests.jobs.improvement.test_command import arguments, models
from tests.jobs.warm import Program

__all__ = ["arguments", "models"]  # fixtures

pytestmark = pytest.mark.usefixtures("own_signals")
QUERIES = 6


def test_processes_share_an_improvement(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes make what one makes, each query by one of them."""
    assert main(["improve", *arguments]) == 0
    alone = json.loads(capsys.readouterr().out)
    out, scores = tmp_path / "out.jsonl", tmp_path / "out.jsonl.scores.parquet"
    expected = out.read_bytes(), scores.read_bytes()
    for path in (out, scores, tmp_path / "out.jsonl.journal"):
        path.unlink()
    program = Program("mmrlhf_jobs", ["improve", *arguments], os.environ, processes=2)
    output, errors = program.communicate()
    assert program.wait() == 0, errors
    assert (out.read_bytes(), scores.read_bytes()) == expected
    assert json.loads(output) == alone
    assert alone["sampledNow"] == QUERIES
    assert "rank 1 of 2 has ended well" in errors


def test_a_file_improves_as_the_command_line_does(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["improve", *arguments]) == 0
    alone = json.loads(capsys.readouterr().out)
    queries, out, _, policy, _, reward, *_ = arguments
    expected = Path(out).read_bytes()
    step = {
        "step": "improve",
        "queries": queries,
        "out": str(tmp_path / "again.jsonl"),
        "policy": policy,
        "reward": reward,
        "maxNewTokens": 24,
        "temperature": 1.0,
        "storage": {"endpoint": "http://127.0.0.1:1"},
    }
    (tmp_path / "step.yaml").write_text(yaml.safe_dump(step))
    assert main(["step", str(tmp_path / "step.yaml")]) == 0
    assert json.loads(capsys.readouterr().out) == alone
    assert (tmp_path / "again.jsonl").read_bytes() == expected
    score = {
        "step": "score",
        "model": reward,
        "data": out,
        "mediaRoot": str(Path(queries).parent),
        "out": str(tmp_path / "scores.parquet"),
    }
    (tmp_path / "score.yaml").write_text(yaml.safe_dump(score))
    assert main(["step", str(tmp_path / "score.yaml")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "rows": alone["records"],
        "records": alone["records"],
        "invalid": {},
        "tied": 0,
        "responses": alone["responses"],
        "computed": alone["responses"],
        "cutCritiques": 0,
    }

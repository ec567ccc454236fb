"""The gate and aliases from the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from mmrlhf_jobs.storage.artifacts import ArtifactStore

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_model_is_promoted_by_hand_judged_and_rolled_back(
    command: Command, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
        ArtifactStore(store).publish(tmp_path / name, name)
    done = command("promote", store, "vqa", f"{store}/one", "--reason", "the first")
    assert json.loads(done.stdout)["current"]["cause"]["reason"] == "the first", done.stderr
    rule = {"name": "bench", "measure": "outcomes", "figure": "right"}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"criteria": [rule]}))
    for name, right in (("better", 1), ("worse", 0)):
        rows = [{"query": f"q{n}", "figures": {"right": right}} for n in range(200)]
        content = {"version": "GateResults/v1", "data": "d", "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    report = tmp_path / "report.json"

    def judge(candidate: str, champion: str) -> str:
        files = [
            f"--{who}={tmp_path}/{name}.json"
            for who, name in (("candidate", candidate), ("champion", champion))
        ]
        place = [f"--store={store}", "--alias=vqa", f"--artifact={store}/two"]
        done = command("gate", str(tmp_path / "rules.yaml"), str(report), *files, *place)
        assert done.returncode == 0, done.stderr
        outcome = str(json.loads(report.read_text())["outcome"])
        assert outcome in done.stdout
        return outcome

    def shown() -> str:
        return str(json.loads(command("alias", store, "vqa").stdout)["current"]["uri"])

    assert judge("worse", "better") == "Rejected"
    assert shown() == f"{store}/one"
    assert judge("better", "worse") == "Promoted"
    assert shown() == f"{store}/two"
    assert command("rollback", store, "vqa", "--reason", "complaints").returncode == 0
    assert shown() == f"{store}/one"
    done = command("rollback", store, "vqa")
    assert (done.returncode, "stood for nothing before" in done.stderr) == (2, True)

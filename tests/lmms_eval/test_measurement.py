"""A tiny policy and a task of our own, measured as a StepJob, and its figures in our report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from mmrlhf_api.steps.lmms_eval import PROGRAM
from mmrlhf_jobs.__main__ import main
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import save
from tests.jobs.steps.test_job import body, manifest, run_of, written

TASK = "tiny_pictures"
CODE = """
from PIL import Image


def visual(row):
    return [Image.open(row["picture"]).convert("RGB")]


def text(row, lmms_eval_specific_kwargs=None):
    return row["question"]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A task with three pictures, as lmms-eval wants it."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = []
    for number in range(3):
        picture(28, 28, number).save(folder / f"{number}.png")
        asked = {"question": "what is this?", "answer": "nothing that it says"}
        rows.append({"picture": str(folder / f"{number}.png"), **asked})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pictures.py").write_text(CODE)
    settings = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_target": "answer",
        "generation_kwargs": {"max_new_tokens": 4, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": [{"version": 1}],
    }
    functions = "doc_to_visual: !function pictures.visual\ndoc_to_text: !function pictures.text\n"
    (folder / "task.yaml").write_text(functions + yaml.safe_dump(settings))
    return folder


def test_a_policy_is_measured_and_its_figures_are_in_the_report(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    part = {
        "policy": str(save("llava", tmp_path / "policy")),
        "tasks": [TASK],
        "limit": 2,
        "taskFolder": str(tasks),
        "program": os.environ.get("MMRLHF_TEST_LMMS_EVAL", PROGRAM),
    }
    assert main(written(tmp_path, body(tmp_path, "lmms-eval", **part))) == 0
    assert manifest(tmp_path)["metrics"] == {f"{TASK}.exact_match": 0.0}
    results, report = run_of(tmp_path) / "lmms_eval.json", tmp_path / "evaluation.json"
    assert main(["report", str(report), "--understanding", f"tiny={results}"]) == 0
    (figure,) = json.loads(report.read_text())["models"]["tiny"]["understanding"]
    assert figure == {
        "capability": "Other",
        "task": TASK,
        "metric": "exact_match",
        "filter": "none",
        "value": 0.0,
        "stderr": 0.0,
        "samples": 2,
        "limited": True,
        "higherIsBetter": True,
    }

"""Whatever loads a model in a job says whom to tell that it has two chat templates."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = Path(__file__).parents[2] / "jobs/mmrlhf_jobs"
LOADS = {
    "load_model",
    "load_adapter",
    "preview_records",
    "CritiqueRewardModel.from_pretrained",
    "Policy.load",
}
"""What renders prompts afterwards."""


def silent(code: str) -> Iterator[str]:
    """Calls that load a model and leave open whom to tell."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in LOADS:
            continue
        if "tell" not in {word.arg for word in node.keywords}:
            yield f"line {node.lineno}: {ast.unparse(node.func)} without tell="


def test_no_step_and_no_job_loads_in_silence() -> None:
    files = sorted(ROOMS.rglob("*.py"))
    called = {name for name in LOADS for path in files if f"{name}(" in path.read_text()}
    assert called == LOADS, "the code is elsewhere"
    assert [f"{path}: {one}" for path in files for one in silent(path.read_text())] == []


def test_processors_come_by_the_one_way_that_chooses() -> None:
    asking = [path for path in ROOMS.rglob("*.py") if "load_any_processor(" in path.read_text()]
    assert {path.name for path in asking} == {"architecture.py", "loading.py"}


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("load_model(x)", 1),
        ("CritiqueRewardModel.from_pretrained(x, dtype=y)", 1),
        ("load_model(x, tell=y)", 0),
        ("AutoModel.from_pretrained(x)", 0),
    ],
)
def test_calls_are_seen_as_what_they_are(call: str, count: int) -> None:
    assert len(list(silent(call))) == count

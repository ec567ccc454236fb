"""Every call that loads a foreign model says that its code may not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("jobs", "sdk", "cli", "operator", "crds", "benchmarks", "examples")
OURS = {"CritiqueRewardModel", "RewardModel"}
"""Classes of our own, whose `from_pretrained` goes on to those of transformers."""


def complaints(code: str) -> Iterator[str]:
    """Calls that leave open whether a model's code or pickles may run."""
    for node in ast.walk(ast.parse(code)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = ast.unparse(node.func.value).rpartition(".")[2]
        if node.func.attr not in ("from_pretrained", "from_config") or owner in OURS:
            continue
        said = {
            word.arg: word.value.value
            for word in node.keywords
            if isinstance(word.value, ast.Constant)
        }
        if said.get("trust_remote_code") is not False:
            yield f"line {node.lineno}: {owner}.{node.func.attr} without trust_remote_code=False"
        is_model = "Model" in owner and node.func.attr == "from_pretrained"
        if is_model and said.get("use_safetensors") is not True:
            yield f"line {node.lineno}: {owner}.{node.func.attr} without use_safetensors=True"


def test_no_call_leaves_it_open() -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    calls = sum(path.read_text().count("from_pretrained(") for path in files)
    assert calls > 6, "the code is elsewhere"
    found = [f"{path}: {one}" for path in files for one in complaints(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("AutoConfig.from_pretrained(x)", 1),
        ("AutoConfig.from_pretrained(x, trust_remote_code=True)", 1),
        ("AutoConfig.from_pretrained(x, trust_remote_code=asked)", 1),
        ("transformers.AutoModel.from_pretrained(x)", 2),
        ("AutoModel.from_pretrained(x, trust_remote_code=False)", 1),
        ("CLIPModel.from_pretrained(x, trust_remote_code=False, use_safetensors=False)", 1),
        ("AutoModel.from_config(c)", 1),
        ("reduced.from_pretrained(x, **more)", 1),
        ("AutoModel.from_pretrained(x, trust_remote_code=False, use_safetensors=True)", 0),
        ("CritiqueRewardModel.from_pretrained(x)", 0),
    ],
)
def test_calls_are_seen_as_what_they_are(call: str, count: int) -> None:
    assert len(list(complaints(call))) == count

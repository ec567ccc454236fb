"""What docs/sdk.md tells a reader to write exists, and takes these arguments."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import mmrlhf
from mmrlhf.training.rows import Row

PAGE = Path(__file__).resolve().parents[3] / "docs/sdk.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
NAMES: dict[str, Any] = {"mmrlhf": mmrlhf, "Row": Row}
INSTANCES = {
    "client": mmrlhf.Client,
    "judge": mmrlhf.RewardModel,
    "done": mmrlhf.JobView,
    "result": mmrlhf.RunResult,
    "data": mmrlhf.Dataset,
    "features": mmrlhf.Features,
}
"""What the variables of the page hold."""


def find(node: ast.expr) -> Any:
    """Return what an expression of the page stands for; None for what is not ours."""
    if isinstance(node, ast.Name):
        return NAMES.get(node.id, INSTANCES.get(node.id))
    if isinstance(node, ast.Attribute):
        owner = find(node.value)
        return None if owner is None else _member(owner, node.attr)
    return None


def _member(owner: Any, name: str) -> Any:
    fields = getattr(owner, "__dataclass_fields__", {})
    return None if name in fields else getattr(owner, name)


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_are_python_that_fits_the_package(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute):
            find(node)  # raises where there is no such attribute
        if isinstance(node, ast.Call) and callable(target := find(node.func)):
            signature = inspect.signature(target)
            bound = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
            own = [None] if bound and node.func.value.id in INSTANCES else []  # type: ignore[attr-defined]
            words = {word.arg: None for word in node.keywords if word.arg}
            signature.bind(*own, *node.args, **words)


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+Error)`", PAGE.read_text(), re.MULTILINE))
def test_errors_of_the_table_exist(name: str) -> None:
    from mmrlhf import errors

    assert issubclass(getattr(errors, name), errors.MmrlhfError)


@pytest.mark.parametrize("call", re.findall(r"`(\w+\([^`]*\))`", PAGE.read_text()))
def test_calls_of_the_table_exist(call: str) -> None:
    name, arguments = call.removesuffix(")").split("(")
    parameters = inspect.signature(getattr(mmrlhf.Client, name)).parameters
    assert {word.strip().rstrip("=") for word in arguments.split(",")} <= set(parameters)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 5

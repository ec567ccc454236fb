"""docs/faults.md is the fault matrix, and all that shows it is there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from mmrlhf_api.constants import FailureReason, Phase, Reason
from mmrlhf_operator.planning.reasons import OperatorReason
from tests.faults import FAULTS, OF_THE_OPERATOR, PAGE, REAL, page

ROOT = Path(__file__).resolve().parents[3]
NAMED = sorted(
    {REAL, *(test for fault in FAULTS for test in fault.also)}.union(*OF_THE_OPERATOR.values())
)


@cache
def names_in(path: str) -> set[str]:
    """Names of the tests of a file."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_the_page_is_what_the_matrix_says() -> None:
    assert PAGE.read_text() == page(), "run `make crds`"


@pytest.mark.parametrize("test", NAMED)
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in names_in(path)


def test_rows_are_of_one_name_each_and_of_words_that_there_are() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    reasons = {*Reason, *FailureReason, *OperatorReason}
    assert {word for fault in FAULTS for word in (*fault.shown, *fault.or_shown)} <= reasons
    assert {fault.reason for fault in FAULTS} - {""} <= reasons
    assert {fault.phase for fault in FAULTS} - {""} <= set(Phase)

"""What a gate said as it ended, in the status of its job."""

from __future__ import annotations

import json

import pytest

from mmrlhf_api.constants import GateOutcome
from tests.unit.operator.world import running


def said(exit_code: int, word: str, message: str = "all 3 checks passed") -> str:
    return json.dumps({"exitCode": exit_code, "reason": word, "message": message})


@pytest.mark.parametrize("word", GateOutcome)
def test_what_a_gate_said_is_a_condition_and_in_the_message(word: GateOutcome) -> None:
    there = running()
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name, 0, message=said(0, word))
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert there.status["message"].startswith(f"{word}: all 3 checks passed; artifacts are at ")
    told = there.conditions["Promoted"]
    assert told["status"] == str(word is GateOutcome.PROMOTED)
    assert (told["reason"], told["message"]) == (word, "all 3 checks passed")


@pytest.mark.parametrize("word", [GateOutcome.REJECTED, GateOutcome.CANNOT_JUDGE])
def test_a_gate_that_was_to_fail_is_not_tried_again(word: GateOutcome) -> None:
    there = running()
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name, 1, message=said(1, word, f"{word}: too few"))
    there.settle()
    assert (there.status["phase"], there.status["reason"]) == ("Failed", "NotPromoted")
    told = there.conditions["Promoted"]
    assert (told["status"], told["reason"], told["message"]) == ("False", word, "too few")


@pytest.mark.parametrize("message", ["", "Promoted", said(0, "Delighted")])
def test_a_job_that_says_nothing_of_a_candidate_is_no_gate(message: str) -> None:
    there = running()
    for name in ("demo-0-0", "demo-0-1"):
        there.finish(name, 0, message=message)
    there.settle()
    assert there.status["phase"] == "Succeeded"
    assert "Promoted" not in there.conditions

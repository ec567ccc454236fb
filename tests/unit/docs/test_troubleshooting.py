"""docs/troubleshooting.md explains every reason that a job can have, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmrlhf_api.constants import FailureReason, Phase, Reason
from mmrlhf_api.members import meanings
from mmrlhf_operator.planning.failures import BUILT_IN
from mmrlhf_operator.planning.reasons import OperatorReason

PAGE = (Path(__file__).resolve().parents[3] / "docs/troubleshooting.md").read_text()
SECTIONS = {
    title: text.strip()
    for title, text in re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
MEANINGS = meanings(Reason) | meanings(FailureReason) | meanings(OperatorReason)


def test_the_sets_are_read_whole() -> None:
    """Or else a reason could be missing here and in the page."""
    assert set(MEANINGS) == {*Reason, *FailureReason, *OperatorReason}
    assert len(MEANINGS) == len(Reason) + len(FailureReason) + len(OperatorReason)
    assert meanings(Phase)["Running"] == "All pods run."


def test_every_reason_has_a_section_and_no_other_word_has() -> None:
    assert set(SECTIONS) == set(MEANINGS)


@pytest.mark.parametrize("reason", MEANINGS)
def test_a_section_says_what_it_means_whence_it_comes_and_what_to_do(reason: str) -> None:
    meaning, cause, advice = SECTIONS[reason].split("\n\n")[:3]
    assert meaning == f"*{MEANINGS[reason]}*"
    assert re.fullmatch(r"\*\*Cause\.\*\* \S.{15,}", cause, re.DOTALL)
    assert re.fullmatch(r"\*\*What to do\.\*\* \S.{5,}", advice, re.DOTALL)


def test_the_built_in_policy_is_the_operators() -> None:
    rows = re.findall(r"^\| (\w+(?:, \w+)*) \| (.+?) \|$", PAGE, re.MULTILINE)
    words = {
        "FailJob": "the job fails",
        "RestartJob": "restart that counts",
        "RestartJobFree": "restart free of charge",
    }
    told = [(reason, policy) for names, policy in rows[1:] for reason in names.split(", ")]
    assert sorted((name, policy.partition(",")[0]) for name, policy in told) == sorted(
        (reason.value, words[action]) for reason, action in BUILT_IN.items()
    )

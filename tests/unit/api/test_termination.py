"""Words of endings, and what is made of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mmrlhf_api.constants import FailureReason, GateOutcome
from mmrlhf_api.termination import Ending, TerminationMessage, failure_reason

ROOT = Path(__file__).parents[3]


def test_exit_codes_are_what_the_world_knows() -> None:
    assert {ending.value: ending.exit_code for ending in Ending if ending.exit_code != 1} == {
        "InvalidInput": 2,
        "InvalidJob": 2,
        "StorageUnavailable": 157,
        "PeerLost": 141,
        "Stalled": 142,
        "Superseded": 129,
        "Interrupted": 143,
    }


@pytest.mark.parametrize(
    ("word", "code", "reason"),
    [
        ("InvalidJob", 2, FailureReason.INVALID_INPUT),
        ("StorageUnavailable", 157, FailureReason.STORAGE_UNAVAILABLE),
        ("StorageFull", 1, FailureReason.STORAGE_FULL),
        ("PeerLost", 141, FailureReason.KILLED),
        ("Interrupted", 143, FailureReason.KILLED),
        ("Superseded", 129, FailureReason.KILLED),
        ("Stalled", 142, FailureReason.STALLED),
        ("ProcessFailed", 137, FailureReason.KILLED),
        ("ProcessFailed", 3, FailureReason.APPLICATION_ERROR),
        ("OfANewerJob", 1, FailureReason.APPLICATION_ERROR),
        ("OutOfMemory", 137, FailureReason.KILLED),  # for the kubelet to say, not for a job
        ("", 128, FailureReason.KILLED),
        ("", 127, FailureReason.APPLICATION_ERROR),
    ],
)
def test_words_and_else_codes_say_why(word: str, code: int, reason: FailureReason) -> None:
    assert failure_reason(word, code) == reason


@pytest.mark.parametrize("ending", Ending)
def test_code_and_failure_of_a_word_agree(ending: Ending) -> None:
    """What lies at 128 and above may go better the next time."""
    reason = failure_reason(ending, ending.exit_code)
    retried = {FailureReason.KILLED, FailureReason.STALLED, FailureReason.STORAGE_UNAVAILABLE}
    assert (reason in retried) == (ending.exit_code >= 128)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"exitCode":2,"reason":"InvalidInput","message":"row 3"}', (2, "InvalidInput", "row 3")),
        ('{"exitCode":true,"message":null}', (None, "", "")),
        ("{}", (None, "", "")),
        ("[1]", None),
        ("exitcode : -9", None),
        ("", None),
    ],
)
def test_a_message_is_read_as_far_as_it_is_one(text: str, said: tuple[object, ...] | None) -> None:
    read = TerminationMessage.read(text)
    assert (None if read is None else (read.exit_code, read.reason, read.message)) == said


def test_a_message_survives_its_way() -> None:
    message = TerminationMessage(exit_code=143, reason=Ending.INTERRUPTED, message="gr\u00fcn\n")
    assert message.encode().isascii()
    assert TerminationMessage.read(message.encode().decode()) == message


def test_no_other_file_spells_a_word() -> None:
    # Kueue has one of the gate's words, and conditions of Flux and kstatus have the other.
    words = {ending.value for ending in Ending} - {*GateOutcome, FailureReason.STALLED}
    homes = {"constants.py", "termination.py"}  # FailureReason shares some
    spelled = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("crds/mmrlhf_api", "jobs", "operator", "sdk/mmrlhf", "cli/mmrlhfctl")
        for path in (ROOT / package).rglob("*.py")
        if path.parent != ROOT / "crds/mmrlhf_api" or path.name not in homes
        for statement in ast.parse(path.read_text()).body
        if not ast.unparse(statement).startswith("__all__")  # names of classes
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and node.value in words
    }
    assert not spelled

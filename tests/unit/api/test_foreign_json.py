"""JSON of others: whatever it is, it is read or it is None, and nothing is raised."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_api.foreign_json import read_object
from mmrlhf_api.termination import TerminationMessage


def nested(depth: int) -> str:
    return '{"message": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 4000, '{"a":' * 700, "[" * 100_000, nested(33), nested(500), nested(900),
        '{"exitCode": ' + "9" * 5000 + "}", '{"exitCode": 9223372036854775808}',
        '{"exitCode": NaN}', '{"a": -Infinity}', "", "null", "[]", '"a"', "\x00", "{'a': 1}",
        '{"a": "' + "x" * 70_000 + '"}',
    ],
)  # fmt: skip
def test_odd_messages_are_none(text: str) -> None:
    assert TerminationMessage.read(text) is None
    assert read_object(text.encode(), max_size=64 * 1024) is None


@given(st.text(max_size=40) | st.text('[]{}",:0', max_size=200))
def test_nothing_is_raised(text: str) -> None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    read = read_object(text, max_size=1000)
    assert read is None or read == found


def test_honest_messages_are_read() -> None:
    said = TerminationMessage(
        exit_code=2, reason="InvalidInput", message="a\n\tb: \u4f60 \U0001f680"
    )
    assert TerminationMessage.read(said.encode().decode()) == said
    assert read_object('{"a": [[{"b": 1.5}]], "n": -9223372036854775808}', max_size=100) is not None


def test_a_message_steers_no_terminal() -> None:
    text = json.dumps({"exitCode": 1, "reason": "A\nB", "message": "\x1b[2J\ud800 gone"})
    read = TerminationMessage.read(text)
    assert read == TerminationMessage(exit_code=1, reason=r"A\nB", message=r"\x1b[2J\ud800 gone")

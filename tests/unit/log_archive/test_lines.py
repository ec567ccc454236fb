"""Lines and what must not be in them."""

from __future__ import annotations

import random

import pytest

from mmrlhf_jobs.log_archive.lines import LONGEST, Lines
from mmrlhf_jobs.log_archive.secrets import Redaction, secret_values

TEXT = b"one\n\ntwo\r\nbar 1\rbar 2\r\r\nthree \xff\nend"
LINES = ["one", "", "two", "bar 1", "bar 2", "three �", "end"]


@pytest.mark.parametrize("seed", range(20))
def test_lines_are_the_same_however_they_arrive(seed: int) -> None:
    chance, lines, found, at = random.Random(seed), Lines(), list[str](), 0
    while at < len(TEXT):
        size = chance.randint(1, 5)
        found += lines.feed(TEXT[at : at + size])
        at += size
    assert found + lines.end() == LINES


def test_lines_without_end_are_cut_between_words() -> None:
    lines = Lines()
    found = [line for _ in range(40) for line in lines.feed(b"0123456789 " * 1000)]
    assert len(found) > 3
    assert all(len(line) <= LONGEST and line.endswith(" ") for line in found)
    assert "".join([*found, *lines.end()]) == "0123456789 " * 40_000


def test_credentials_are_hidden_by_form_and_by_value() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "HF_TOKEN": "short",
        "PAD_TOKEN": "<|endoftext|>",
        "HOME": "/home/somebody",
    }
    hide = Redaction(secret_values(environ, None)).hide
    assert hide("key wJalrXUtnFEMI/K7MDENG of AKIAIOSFODNN7EXAMPLE") == "key *** of ***"
    assert hide("short <|endoftext|> /home/somebody") == "short <|endoftext|> /home/somebody"
    assert hide("https://me:secret@host/x hf_" + "a" * 34) == "https://***@host/x ***"


def test_private_keys_are_hidden_to_their_end() -> None:
    hide = Redaction(()).hide
    key = [
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBg",
        "kqhkiG9w0BAQE",
        "-----END PRIVATE KEY-----",
    ]
    assert [hide(line) for line in ["before", *key, "after"]] == [
        "before",
        "***",
        "***",
        "***",
        "***",
        "after",
    ]

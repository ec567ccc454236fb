"""Expressions over text of others take time by its length, not by the square of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from mmrlhf_api.credentials import hide_passwords
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.parts import Media
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.checks import check_expansion
from mmrlhf_jobs.endpoints.refusals import is_refusal
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.contexts import context_cue
from mmrlhf_jobs.sampling.corpora.conversations import without_placeholders
from mmrlhf_jobs.sampling.corpora.question_types import type_of

SMALL, LARGE = 1_000, 16_000
ROW = RawPairRow("f.jsonl", 1, {})


def strip(text: str, *, media: bool = True) -> str:
    """The question of a text, with a medium for each of its marks, or with none; or the error."""
    pieces = marked(text)
    shown: list[Media] = []
    for piece in pieces:
        if not isinstance(piece, str):
            kind: Literal["image", "video"] = "video" if piece.kind == "video" else "image"
            shown.append(Media.model_construct(kind=kind))
    try:
        return make_prompt(ROW, [Message("user", pieces, "prompt")], shown if media else []).text
    except DataError as error:
        return str(error)


def check(text: str) -> Any:
    answer = Answer(
        text=f"x{text}x",
        finish_reason=None,
        prompt_tokens=None,
        completion_tokens=None,
        model=None,
        verified=True,
    )
    return check_expansion(answer, comment="a comment of words", context=text)


READERS: dict[str, Callable[[str], Any]] = {
    "check_expansion": check,
    "is_refusal": is_refusal,
    "refusal of an AI": lambda text: is_refusal("As an AI " + text),
    "type_of": lambda text: type_of(text, text),
    "type_of, an option": lambda text: type_of(f"A){text}x\nB){text}\n", f"A{text}"),
    "context_cue": lambda text: context_cue(text, 1),
    "without_placeholders": without_placeholders,
    "strip_placeholders": strip,
    "strip_placeholders, within": lambda text: strip(f"{text}x{text}"),
    "hide_passwords": hide_passwords,
    "hide_passwords, of an address": lambda text: hide_passwords(f"http://{text}"),
}
PIECES = [
    "\n", " ", "\t", "\r\n", "\n ", " \t", "<", "(", "[", "`", "``` ", "-", "- ", "> ", "*", "1",
    "1,", "1.", "A", "A) ", "A)\t\t", "a\n", "<image>", "<image> ", "<video>\n", "choices ",
    "options: ", "choose ", "it ", "make it ", "i cannot ", "as an ai ", "answer:", "\u5462",
    "\x1c", "\u2028", "?", "\u00a0", "://", ":", ":@", "%3A", "eyJ-", "eyJhbGciOiJI.", "sk-", "hf_",
    "<image 1> ",
]  # fmt: skip


def seconds(read: Callable[[str], Any], text: str) -> float:
    # A collection of what other tests have left is none of the reader's time.
    gc.disable()
    try:
        started = time.process_time()
        read(text)
        return time.process_time() - started
    finally:
        gc.enable()


def is_linear(read: Callable[[str], Any], small: str, large: str) -> bool:
    """Whether a text that is 16 times as long takes no square of the time, which is 256 times.

    Once is enough: a square takes its time each time, and a busy machine now and then.
    """
    least = max(0.002, min(seconds(read, small) for _ in range(2)))
    return any(seconds(read, large) < 80 * least for _ in range(3))


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", READERS)
def test_sixteen_times_the_text_takes_no_square_of_the_time(name: str, piece: str) -> None:
    small, large = ((piece * size)[:size] for size in (SMALL, LARGE))
    assert is_linear(READERS[name], small, large)


def test_a_key_that_is_there_twice_takes_no_square_of_the_time() -> None:
    def read(text: str) -> None:
        with pytest.raises(UnreadableRowError, match="the key 'last' is there twice"):
            parse_object(text.encode())

    small, large = (
        "{" + "".join(f'"{number}": 0, ' for number in range(size)) + '"last": 0, "last": 0}'
        for size in (SMALL, LARGE)
    )
    assert is_linear(read, small, large)


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("<image>\n<video> What? <image>", "What?"),
        (" What?\n", "What?"),
        ("<image> a\n<", "a\n<"),
        ("<image", "<image"),
    ],
)
def test_placeholders_around_a_prompt_go(prompt: str, left: str) -> None:
    assert strip(prompt) == left


@pytest.mark.parametrize("prompt", ["<image> <video>", " "])
def test_a_prompt_of_placeholders_alone_is_refused(prompt: str) -> None:
    assert "is empty" in strip(prompt)


@pytest.mark.parametrize("prompt", ["a <image> b", "<image> What?"])
def test_placeholders_of_no_medium_are_refused(prompt: str) -> None:
    assert "1 <image> stand in the texts for 0 images of the row" in strip(prompt, media=False)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("As an AI model, I cannot see and I can't help with that.", True),
        ("I cannot, and I cannot answer that.", True),
        ("I can help.", False),
        ("As an AI, I can see. I cannot help.", False),
    ],
)
def test_refusals_are_found_as_before(text: str, refusal: bool) -> None:
    assert is_refusal(text) is refusal


def test_options_lose_white_space_at_their_ends_alone() -> None:
    found = type_of("Which?\nA)  .  a b \t\nB) c\x0b\nC) .\n", "A")
    assert found.options == ("a b", "c\x0b", ".")

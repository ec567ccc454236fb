"""What is wrong with an answer, as far as its text tells."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from mmrlhf_jobs.data.marks import MARK
from mmrlhf_jobs.endpoints.answers import Answer

__all__ = [
    "Verdict",
    "check_expansion",
    "check_response",
    "is_placeholder",
    "is_refusal",
    "is_truncated",
]

Verdict: TypeAlias = Literal[
    "empty",
    "filtered",
    "refusal",
    "truncated",
    "unfinishedThought",
    "placeholder",
    "markup",
    "tooShort",
    "unrelated",
    "addedNumbers",
]
"""Why an answer cannot be used."""

_RESPECTS: Final = 0.3
"""Part of a comment's words that its expansion must take up."""

_FEW_WORDS: Final = 3
# Latin, Greek and Cyrillic: other scripts do not set words apart by spaces.
_WORD: Final = re.compile(r"[A-Za-z\u00c0-\u024f\u0370-\u052f]{4,}")
_SPELT: Final = {
    "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12",
}  # fmt: skip
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")
# Not \s before the mark: from each of many empty lines it would run to the last.
_ITEM: Final = re.compile(r"^[^\S\n]*(?:\d+[.)]|[-*])\s", re.MULTILINE)
_STEM: Final = 5

_CONTROL: Final = re.compile(r"<\|\w+\|>|<(?:start|end)_of_turn>|\[/?INST\]|</?s>\s*$|</?think>")
"""Tokens by which chat templates divide turns; a model that writes one was not stopped by it."""
_PLACEHOLDER: Final = re.compile(
    r"\W*|[\[<({]{1,2}\s*(?:(?:insert|your|the|an?|add|write)\s+)*(?:answer|response|text|description"
    r"|placeholder|output|content|critique|explanation)s?(?:\s+(?:goes\s+)?here)?\s*[\])>}]{1,2}\W*"
    r"|(?:todo|tbd|lorem ipsum\b.*)\W*",
    re.IGNORECASE,
)

_ABLE: Final = r"(?:can(?:not|'t| not)|won't|must decline|(?:am|'m) (?:not able|unable) to)"
_TASKS: Final = (
    r"(?:answer|assist|comply|continue|discuss|do that|engage|fulfil|help|provide|support)"
)
# The first sentence must be the refusal: "however, I cannot see any dog" further on is none. Of
# several "I cannot" the first will do, hence (?>...): what follows the others follows it as well.
_REFUSAL: Final = re.compile(
    r"\W*(?:(?:i am|i'm|we're) (?:very |so |really )?sorry\b|sorry,|i apologi[sz]e\b"
    rf"|(?>(?:as an ai\b[^.]*?)?i ?{_ABLE}\b)[^.]*?\b{_TASKS}|as an ai\b[^.]*?{_ABLE})",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text opens with a refusal to answer (English)."""
    return _REFUSAL.match(text.replace("\u2019", "'")) is not None


def is_truncated(answer: Answer) -> bool:
    """Whether the answer was cut off at the most tokens."""
    return answer.finish_reason == "length"


def is_placeholder(text: str) -> bool:
    """Whether a text stands in the place of an answer, such as ``[insert answer here]``."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def check_response(answer: Answer, *, safety: bool = False) -> Verdict | None:
    """Judge a response to a question; None if it can be used.

    What was cut off, or holds marks of a template, must not be learnt from as a finished answer.

    Args:
        answer: The answer.
        safety: Whether the question is about safety: there a refusal can be used, since how a model
            refuses is what such data is about (paper App. C).
    """
    if (verdict := _unfinished(answer)) is not None:
        return verdict
    if is_refusal(answer.text) and not safety:
        return "refusal"
    return "truncated" if is_truncated(answer) else None


def _unfinished(answer: Answer) -> Verdict | None:
    """Why a text is no answer at all; None if it is one."""
    text = answer.text.strip()
    if answer.finish_reason == "content_filter":
        return "filtered"
    if not text:
        return "empty" if answer.reasoning is None else "unfinishedThought"
    if MARK.search(text) or _CONTROL.search(text):
        return "markup"
    return "placeholder" if is_placeholder(text) else None


def check_expansion(answer: Answer, *, comment: str, context: str) -> Verdict | None:
    """Judge an expansion of a human comment (paper 3.2); None if it can be used.

    The prompt of Table 7 asks for nothing but what the comment says. An expansion that takes up
    hardly a word of the comment is of something else, for instance of another item's comment; one
    with numbers that neither comment nor context holds makes something up.

    Args:
        answer: The answer.
        comment: The human comment.
        context: Question and answer that the comment is about.
    """
    text = answer.text.strip()
    words = _stems(comment)
    faults: tuple[tuple[bool, Verdict], ...] = (
        (is_refusal(text), "refusal"),
        (is_truncated(answer), "truncated"),
        (len(text.split()) < len(comment.split()), "tooShort"),
        (
            len(words) >= _FEW_WORDS and len(words & _stems(text)) < _RESPECTS * len(words),
            "unrelated",
        ),
        (not _numbers(text) <= _told(f"{comment} {context}"), "addedNumbers"),
    )
    return _unfinished(answer) or next((verdict for wrong, verdict in faults if wrong), None)


def _stems(text: str) -> set[str]:
    return {word.lower()[:_STEM] for word in _WORD.findall(text)}


def _numbers(text: str) -> set[str]:
    # Numbers of list items are layout.
    found = _NUMBER.findall(_ITEM.sub(" ", text))
    return {number.replace(",", "") for number in found}


def _told(text: str) -> set[str]:
    spelt = {_SPELT[word] for word in text.lower().split() if word in _SPELT}
    return _numbers(text) | spelt

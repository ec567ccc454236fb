"""What is wrong with an answer, as far as its text tells."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from mmrlhf_jobs.data.marks import MARK
from mmrlhf_jobs.data.thoughts import THOUGHT_MARK
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.refusals import is_refusal

__all__ = [
    "Verdict",
    "check_expansion",
    "check_response",
    "is_placeholder",
    "is_truncated",
]

Verdict: TypeAlias = Literal[
    "empty",
    "filtered",
    "refusal",
    "truncated",
    "brokenOff",
    "unfinishedThought",
    "placeholder",
    "markup",
    "tooShort",
    "unrelated",
    "addedNumbers",
]
"""Why an answer cannot be used."""

_FINISHED: Final = frozenset(
    {"", "stop", "eos", "eostoken", "endturn", "stopsequence", "endofturn"}
)
"""Words of servers for an answer that came to its end, as ``_word`` gives them: OpenAI, vLLM, TGI,
Anthropic's and Gemini's gateways. One that tells no word is believed."""
_TRUNCATED: Final = frozenset(
    {"length", "maxtokens", "modellength", "maxlength", "maxoutputtokens"}
)
_FILTERED: Final = frozenset(
    {"contentfilter", "contentfiltered", "filtered", "safety", "sensitive", "recitation", "refusal"}
    | {"blocklist", "prohibitedcontent", "spii", "imagesafety", "guardrailintervened"}
)
# Every other word (abort, error, tool_calls, network_error, ...) is of an answer that broke off.

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

_CONTROL: Final = re.compile(
    r"<\|\w+\|>|<(?:start|end)_of_turn>|\[/?INST\]|</?s>\s*$|" + THOUGHT_MARK.pattern
)
"""Tokens by which chat templates divide turns; a model that writes one was not stopped by it."""
_PLACEHOLDER: Final = re.compile(
    r"\W*|[\[<({]{1,2}\s*(?:(?:insert|your|the|an?|add|write)\s+)*(?:answer|response|text|description"
    r"|placeholder|output|content|critique|explanation)s?(?:\s+(?:goes\s+)?here)?\s*[\])>}]{1,2}\W*"
    r"|(?:todo|tbd|lorem ipsum\b.*)\W*",
    re.IGNORECASE,
)


def is_truncated(answer: Answer, most_tokens: int | None = None) -> bool:
    """Whether the answer was cut off at the most tokens; by their number if no word says."""
    word = _word(answer)
    full = most_tokens is not None and (answer.completion_tokens or 0) >= most_tokens
    return word in _TRUNCATED or (not word and full)


def _word(answer: Answer) -> str:
    """Why it ended, in small letters without separators."""
    return re.sub(r"[^a-z]", "", (answer.finish_reason or "").lower())


def is_placeholder(text: str) -> bool:
    """Whether a text stands in the place of an answer, such as ``[insert answer here]``."""
    return _PLACEHOLDER.fullmatch(text.strip()) is not None


def check_response(
    answer: Answer, *, safety: bool = False, most_tokens: int | None = None
) -> Verdict | None:
    """Judge a response to a question; None if it can be used.

    What was cut off, or holds marks of a template, must not be learnt from as a finished answer.

    Args:
        answer: The answer.
        safety: Whether the question is about safety: there a refusal can be used, since how a model
            refuses is what such data is about (paper App. C).
        most_tokens: Tokens that were asked for at most.
    """
    if (verdict := _unfinished(answer)) is not None:
        return verdict
    if (answer.refused or is_refusal(answer.text)) and not safety:
        return "refusal"
    return _cut_off(answer, most_tokens)


def _cut_off(answer: Answer, most_tokens: int | None) -> Verdict | None:
    """Whether the server ended the answer before the model did."""
    if is_truncated(answer, most_tokens):
        return "truncated"
    return None if _word(answer) in _FINISHED else "brokenOff"


def _unfinished(answer: Answer) -> Verdict | None:
    """Why a text is no answer at all; None if it is one."""
    text = answer.text.strip()
    if _word(answer) in _FILTERED:
        return "filtered"
    if not text:
        return "empty" if answer.reasoning is None else "unfinishedThought"
    if MARK.search(text) or _CONTROL.search(text):
        return "markup"
    return "placeholder" if is_placeholder(text) else None


def check_expansion(
    answer: Answer, *, comment: str, context: str, most_tokens: int | None = None
) -> Verdict | None:
    """Judge an expansion of a human comment (paper 3.2); None if it can be used.

    The prompt of Table 7 asks for nothing but what the comment says. An expansion that takes up
    hardly a word of the comment is of something else, for instance of another item's comment; one
    with numbers that neither comment nor context holds makes something up.

    Args:
        answer: The answer.
        comment: The human comment.
        context: Question and answer that the comment is about.
        most_tokens: Tokens that were asked for at most.
    """
    text = answer.text.strip()
    words = _stems(comment)
    faults: tuple[tuple[bool, Verdict], ...] = (
        (answer.refused or is_refusal(text), "refusal"),
        (len(text.split()) < len(comment.split()), "tooShort"),
        (
            len(words) >= _FEW_WORDS and len(words & _stems(text)) < _RESPECTS * len(words),
            "unrelated",
        ),
        (not _numbers(text) <= _told(f"{comment} {context}"), "addedNumbers"),
    )
    found = next((verdict for wrong, verdict in faults if wrong), None)
    return _unfinished(answer) or (
        found if found == "refusal" else _cut_off(answer, most_tokens) or found
    )


def _stems(text: str) -> set[str]:
    return {word.lower()[:_STEM] for word in _WORD.findall(text)}


def _numbers(text: str) -> set[str]:
    # Numbers of list items are layout.
    found = _NUMBER.findall(_ITEM.sub(" ", text))
    return {number.replace(",", "") for number in found}


def _told(text: str) -> set[str]:
    spelt = {_SPELT[word] for word in text.lower().split() if word in _SPELT}
    return _numbers(text) | spelt

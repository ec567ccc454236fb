"""Types of questions: multiple choice, long or short (paper 2.2, predefined sampling weights).

Multiple choice goes first, then the length of the answer. A question is multiple choice when its
options have a field of their own, or when at least two of these say so:

======================  ===========================================================================
``option-lines``        at least two lines in a row that begin with A, B, ... or 1, 2, ... in order
``inline-options``      such marks in one line: ``(A) red (B) blue``, ``A. red B. blue``
``cue``                 words that ask for a choice: "answer with the option's letter", "Choices:"
``letter-answer``       the answer is one of the letters, such as ``B`` or ``(B) blue``
``option-answer``       the answer is the text of an option, also of a list: "Options: red, blue"
======================  ===========================================================================

Lines in fenced code count for nothing, and a list of steps has neither cue nor answer, so it stays
what its answer's length makes it. Yes or no is no multiple choice: it offers no options.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["QuestionType", "Typed", "answer_length", "type_of"]

QuestionType: TypeAlias = Literal["long", "short", "mcq"]

_FENCED: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# Texts are matched after NFKC, which makes full-width brackets and colons plain ones. White space
# is matched where nothing else can take it, so that much of it takes no longer than other text.
_LINE: Final = re.compile(
    r"^[ \t>*-]*[(\[【]?([A-Ha-h]|[1-8])"
    r"(?:[)\]】](?:[ \t]*[.:])?|[.:、,](?!\d)|[ \t][-\u2013\u2014][ \t])"
    r"[ \t]*(\S(?:.*[^ \t\n])?)[ \t]*$",
    re.MULTILINE,
)
_INLINE: Final = re.compile(
    r"(?<![\w.])[(\[【]?([A-Ha-h]|[1-8])(?:[)\]】]|[.:、](?![\d.]))[ \t]*(?=\S)",
)
_LISTED: Final = re.compile(
    r"\b(?:options|choices|candidates|alternatives)\b[^\n:\[?]{0,20}[:\[][ \t]*([^\n.?\]]+)",
    re.IGNORECASE,
)
_CUE: Final = re.compile(
    r"""
      \boption'?s?\ letter | \bletter\ of\ (?:the\ |your\ )?(?:correct|right|best|chosen|choice)
    | \b(?:correct|right|best)\ (?:option|choice|letter)\b
    | \b(?:options|choices|candidates|alternatives)\ ?(?:are|include)?\ ?:
    | \bfrom\ (?:the\ |these\ )?(?:(?:given|following|provided)\ )?(?:choices|options|alternatives)
    | \b(?:choose|select|pick|choosing|selecting)\b[^.\n]{0,60}\b
      (?:option|choice|answer|letter|one|below|following|correct)s?\b
    | \bwhich\ (?:one\ )?of\ (?:the\ following|these|the\ options|the\ choices)
    | \bwhich\ (?:option|choice|alternative)\b | \bmultiple[-\ ]choice\b
    | \b(?:options?|choices?)\ (?:below|above|given|provided)\b
    | \bone\ of\ the\ (?:following|options|choices)\b
    | \banswer\ with\ (?:the\ |a\ |a\ single\ |only\ the\ )?(?:letter|option|choice)
    | 选项 | 选择正确 | 以下哪 | 下列哪 | 单选 | 多选 | 请选择 | 選項 | 下列何者
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MARK: Final = re.compile(
    r"^\W*(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:? ?|答案[是为]?:? ?)?"
    r"[(\[【]?([A-H]|[1-8])(?:[)\]】]|[.:、](?!\d)|\W*$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Typed:
    """Type of a question, and what made it so.

    Attributes:
        type: The type.
        rules: Patterns that spoke for multiple choice, then the one that decided the length.
        options: Options that were found in the question.
    """

    type: QuestionType
    rules: tuple[str, ...]
    options: tuple[str, ...] = ()


def type_of(
    question: str, answer: str, *, options: Sequence[str] = (), long_threshold: int = 128
) -> Typed:
    """Type of a question.

    Args:
        question: Its text, without placeholders.
        answer: The answer whose length counts, and whose form tells of a choice.
        options: Options that the corpus gives in a field of their own.
        long_threshold: Characters; an answer with more is long, one with as many is short (the
            paper leaves that open).
    """
    rules, found = _choice_rules(question, answer, options)
    if options or len(rules) >= 2:
        return Typed("mcq", rules, tuple(options) or found)
    if answer_length(answer) > long_threshold:
        return Typed("long", (*rules, "long-answer"))
    return Typed("short", (*rules, "short-answer"))


def answer_length(answer: str) -> int:
    """Length of an answer: Unicode characters after NFC, without white space around it."""
    return len(unicodedata.normalize("NFC", answer).strip())


@dataclass(frozen=True, slots=True)
class _Options:
    """Options in a question: their first mark (A, a or 1) and their texts."""

    first: str = "A"
    texts: tuple[str, ...] = ()


def _choice_rules(
    question: str, answer: str, options: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Patterns that fired, in the order of the table, and the options in the question."""
    text = _FENCED.sub("", unicodedata.normalize("NFKC", question))
    cue = _CUE.search(text) is not None
    lines = _run([(match[1], match[2]) for match in _LINE.finditer(text)])
    inline = _Options() if lines.texts else _run(_inline(text))
    listed = _Options() if lines.texts or inline.texts else _Options("A", _listed(text))
    found = _Options("A", tuple(options)) if options else lines if lines.texts else inline
    found = found if found.texts else listed
    fired = {
        "option-field": bool(options),
        "option-lines": bool(lines.texts),
        "inline-options": bool(inline.texts),
        "cue": cue,
        "letter-answer": _is_mark(answer, found, cue),
        "option-answer": any(_same(answer, option) for option in found.texts),
    }
    return tuple(rule for rule, fires in fired.items() if fires), found.texts


def _run(marked: Sequence[tuple[str, str]]) -> _Options:
    """The longest run of marks A, B, C, ... or 1, 2, 3, ...; empty below two."""
    best = _Options()
    for start, (mark, _) in enumerate(marked):
        if mark not in "Aa1":
            continue
        texts: list[str] = []
        for other, text in marked[start : start + 8]:
            if ord(other) != ord(mark) + len(texts):
                break
            texts.append(text)
        if len(texts) > max(1, len(best.texts)):
            best = _Options(mark, tuple(texts))
    return best


def _inline(text: str) -> list[tuple[str, str]]:
    """Marks within lines, each with the text up to the next mark or the end of the line."""
    matches = list(_INLINE.finditer(text))
    marked = []
    for place, match in enumerate(matches):
        end = matches[place + 1].start() if place + 1 < len(matches) else len(text)
        line, _, _ = text[match.end() : end].partition("\n")
        marked.append((match[1], line.strip(" \t,;([")))
    return marked


def _listed(text: str) -> tuple[str, ...]:
    """Names of options that are only listed, without marks."""
    match = _LISTED.search(text)
    names = re.split(r"[,;|/]", match[1]) if match else []
    names = [name.strip().removeprefix("or ").removeprefix("and ") for name in names]
    return tuple(names) if len(names) > 1 and all(names) else ()


def _is_mark(answer: str, options: _Options, cue: bool) -> bool:
    """Whether the answer is the mark of an option; without options a cue makes letters count."""
    match = _MARK.match(unicodedata.normalize("NFKC", answer).strip())
    if match is None:
        return False
    mark = match[1] if options.first == "1" else match[1].upper()
    first = options.first.upper()
    last = len(options.texts) or (8 if cue else 0)
    return 0 <= ord(mark) - ord(first) < last


def _same(answer: str, option: str) -> bool:
    return bool(_plain(option)) and _plain(answer) == _plain(option)


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text)).strip().casefold()

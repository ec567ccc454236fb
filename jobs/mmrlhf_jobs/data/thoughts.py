"""What a model thinks before it answers, told from the answer.

Models that reason write what they think before the answer, between marks of their own.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["THOUGHT_MARK", "opens_thought", "split_thought"]

_MARKS: Final = (
    ("<think>", "</think>"),  # QwQ, DeepSeek-R1, Qwen3, GLM-4.1V: their model cards
    ("<thinking>", "</thinking>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),  # Kimi-VL-Thinking
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
)

THOUGHT_MARK: Final = re.compile("|".join(re.escape(mark) for pair in _MARKS for mark in pair))
"""Any of the marks."""


def split_thought(text: str, *, opened: bool = False) -> tuple[str, str | None]:
    """A text without what the model thought before, and that; None where there is none.

    Some models leave out the first mark, which stands in the prompt. Where the second mark is
    missing, all of it is thought: the answer was cut off before it began.

    Args:
        text: What the model wrote.
        opened: Whether the prompt ends with the first mark.
    """
    bare = text.lstrip()
    for begin, end in _MARKS:
        thought, mark, answer = text.rpartition(end)
        if mark:
            return answer.strip(), thought.replace(begin, "").strip()
        if bare.startswith(begin):
            return "", bare.removeprefix(begin).strip()
    return ("", text.strip()) if opened else (text, None)


def opens_thought(prompt: str) -> bool:
    """Whether a prompt ends with a first mark, so that what follows is thought."""
    return prompt.rstrip().endswith(tuple(begin for begin, _ in _MARKS))

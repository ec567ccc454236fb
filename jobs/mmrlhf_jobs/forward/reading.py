"""What a model has written, as text, apart from what it thought before."""

from __future__ import annotations

from typing import Any, Final

from mmrlhf_jobs.data.thoughts import opens_thought, split_thought
from mmrlhf_jobs.forward.decoding import Answer
from mmrlhf_jobs.models.adapter import EncodedGroup

__all__ = ["read_answer"]

_MARK_TOKENS: Final = 16
"""Tokens at the end of a prompt that the mark of a thought is looked for in."""


def read_answer(
    tokenizer: Any,  # noqa: ANN401 - transformers types none
    prompt: EncodedGroup,
    answer: Answer,
) -> tuple[str, str | None]:
    """The text of an answer without special tokens, and the thought before it; None without one.

    Args:
        tokenizer: That of the model.
        prompt: What was answered.
        answer: What was written.
    """
    opened = opens_thought(str(tokenizer.decode(prompt.prompt_ids[-_MARK_TOKENS:])))
    # Marks of thoughts are special tokens of some models, and gone from the plain text.
    whole = str(tokenizer.decode(answer.tokens))
    text, thought = split_thought(whole, opened=opened)
    if thought is None:
        return str(tokenizer.decode(answer.tokens, skip_special_tokens=True)), None
    for token in tokenizer.all_special_tokens:
        text = text.replace(str(token), "")
    return text.strip(), thought

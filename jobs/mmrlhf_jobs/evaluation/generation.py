"""Greedy answers of a policy, several queries at a time."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import end_tokens, write_answers
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel

__all__ = ["generate_answers"]


def generate_answers(
    loaded: LoadedModel, prompts: Sequence[EncodedGroup], *, max_new_tokens: int
) -> list[str]:
    """Answer queries by greedy decoding.

    One call serves every mixture of images, videos and bare text. The same prompt gives the same
    answer alone and in a batch, up to ties between equally likely tokens.

    Args:
        loaded: Model, processor and adapter.
        prompts: Encoded queries; their responses are not looked at.
        max_new_tokens: Tokens after which an answer is cut off.

    Returns:
        Texts without special tokens, in the order of the prompts.
    """
    answers = write_answers(
        loaded.model,
        loaded.adapter,
        prompts,
        choose=choose_likeliest,
        ends=end_tokens(loaded),
        max_new_tokens=max_new_tokens,
    )
    decode = loaded.processor.tokenizer.decode
    return [str(decode(answer.tokens, skip_special_tokens=True)) for answer in answers]

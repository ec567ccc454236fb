"""Greedy answers of a policy, several queries at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel

__all__ = ["generate_answers"]


@torch.no_grad()
def generate_answers(
    loaded: LoadedModel, prompts: Sequence[EncodedGroup], *, max_new_tokens: int
) -> list[str]:
    """Answer queries by greedy decoding.

    Prompts are padded on the left and handed over as embeddings, so that one call serves every
    mixture of images, videos and bare text. The same prompt gives the same answer alone and in
    a batch, up to ties between equally likely tokens.

    Args:
        loaded: Model, processor and adapter.
        prompts: Encoded queries; their responses are not looked at.
        max_new_tokens: Tokens after which an answer is cut off.

    Returns:
        Texts without special tokens, in the order of the prompts.
    """
    model, adapter = loaded.model, loaded.adapter
    tokenizer = loaded.processor.tokenizer
    length = max(len(prompt.prompt_ids) for prompt in prompts)
    ids = torch.full((len(prompts), length), tokenizer.pad_token_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt.prompt_ids) :] = prompt.prompt_ids
        mask[row, length - len(prompt.prompt_ids) :] = 1
    training = model.training
    model.eval()
    try:
        embeddings = adapter.embed(model, ids.to(model.device), prompts, [1] * len(prompts))
        generated = model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
    finally:
        model.train(training)
    texts: list[str] = tokenizer.batch_decode(generated, skip_special_tokens=True)
    return texts

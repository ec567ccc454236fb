"""Responses sampled from a local policy.

Every sample has a random stream of its own, which follows from the seed, the query and the
sample's number: it is the same whatever else is in the batch, up to rounding where two tokens are
about as likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TopPLogitsWarper

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.parts import GenerationParams, ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.improvement.groups import Flaw, Sample
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel

__all__ = ["PolicySampler"]


class PolicySampler:
    """Samples from a model of this machine.

    Args:
        loaded: The policy.
        plan: How to sample.
        name: Name of the policy, for records.
        digest: Digest of its files.
    """

    def __init__(self, loaded: LoadedModel, plan: SamplingPlan, *, name: str, digest: str) -> None:
        self.plan = plan
        self._loaded = loaded
        self._name = name
        self._digest = digest
        tokenizer = loaded.processor.tokenizer
        ends = loaded.model.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        self._ends: list[int] = list(ends) if isinstance(ends, list) else [ends]

    def key(self, query: QueryRecord) -> str:
        """Digest of all that the samples of a query depend on."""
        adapter = self._loaded.adapter
        return digest_of(
            "samples",
            [self._digest, adapter.template_digest(), adapter.image_settings()],
            asdict(self.plan),
            query.query.text,
            list(query.media_sha256s),
        ).hex()

    def origins(self, query: QueryRecord) -> list[ModelOrigin]:
        """Where each of a query's samples comes from."""
        plan = self.plan
        return [
            ModelOrigin(
                name=self._name,
                revision=self._digest,
                params=GenerationParams(
                    temperature=plan.temperature,
                    top_p=plan.top_p,
                    seed=plan.seed_of(query, number),
                    max_tokens=plan.max_new_tokens,
                ),
            )
            for number in range(plan.samples)
        ]

    @torch.no_grad()
    def sample(
        self, queries: Sequence[tuple[QueryRecord, Sequence[LoadedMedia]]]
    ) -> list[list[Sample]]:
        """Sample the responses of several queries in one batch.

        Args:
            queries: Queries with their media.

        Returns:
            Per query its samples, by number.

        Raises:
            DataError: A question holds something that the chat template reserves.
        """
        loaded, plan = self._loaded, self.plan
        model, tokenizer = loaded.model, loaded.processor.tokenizer
        prompts = [loaded.adapter.encode(one.query.text, media, []) for one, media in queries]
        ids, mask = _left_padded(prompts, plan.samples, tokenizer.pad_token_id)
        seeds = [plan.seed_of(one, n) for one, _ in queries for n in range(plan.samples)]
        training = model.training
        model.eval()
        try:
            copies = [plan.samples] * len(prompts)
            generated = model.generate(
                inputs_embeds=loaded.adapter.embed(model, ids.to(model.device), prompts, copies),
                attention_mask=mask.to(model.device),
                max_new_tokens=plan.max_new_tokens,
                do_sample=False,  # the processor below has drawn already
                eos_token_id=self._ends,
                pad_token_id=tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([_SeededDraws(plan, seeds)]),
            )
        finally:
            model.train(training)
        texts = tokenizer.batch_decode(generated, skip_special_tokens=True)
        ended = torch.isin(generated.cpu(), torch.tensor(self._ends)).any(1).tolist()
        questions = chain.from_iterable([one.query.text] * plan.samples for one, _ in queries)
        found = [
            Sample(text, self._flaw(question, text, ended=whole))
            for question, text, whole in zip(questions, texts, ended, strict=True)
        ]
        return [found[at : at + plan.samples] for at in range(0, len(found), plan.samples)]

    def _flaw(self, question: str, text: str, *, ended: bool) -> Flaw | None:
        if not text.strip():
            return "empty"
        if not ended:
            # Training would put the end of an answer after a sentence that has none.
            return "truncated"
        try:
            self._loaded.adapter.encode(question, (), [text])
        except DataError:
            return "unusable"
        return None


class _SeededDraws(LogitsProcessor):
    """Draws the next token of each row from the row's own stream, by inverting its distribution."""

    def __init__(self, plan: SamplingPlan, seeds: Sequence[int]) -> None:
        self._temperature = plan.temperature
        self._nucleus = TopPLogitsWarper(plan.top_p) if plan.top_p < 1 else None
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.float() / self._temperature
        if self._nucleus is not None:
            scores = self._nucleus(input_ids, scores)
        cumulated = scores.softmax(-1).double().cumsum(-1)
        draws = torch.stack(
            [torch.rand((), generator=one, dtype=torch.float64) for one in self._streams]
        )
        levels = draws.to(scores.device)[:, None] * cumulated[:, -1:]
        chosen = torch.searchsorted(cumulated, levels, right=True)
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)


def _left_padded(prompts: Sequence[EncodedGroup], copies: int, pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[prompts * copies, L]``, int64."""
    length = max(len(prompt.prompt_ids) for prompt in prompts)
    ids = torch.full((len(prompts), length), pad, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt.prompt_ids) :] = prompt.prompt_ids
        mask[row, length - len(prompt.prompt_ids) :] = 1
    return ids.repeat_interleave(copies, 0), mask.repeat_interleave(copies, 0)

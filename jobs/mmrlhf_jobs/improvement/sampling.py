"""Responses sampled from a local policy.

Every sample has a random stream of its own, which follows from the seed, the query and the
sample's number: it is the same whatever else is in the batch, up to rounding where two tokens are
about as likely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.parts import GenerationParams, ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.choices import choose_sampled
from mmrlhf_jobs.forward.decoding import Answer, end_tokens, write_answers
from mmrlhf_jobs.forward.reading import read_answer
from mmrlhf_jobs.forward.room import check_room
from mmrlhf_jobs.improvement.groups import Flaw, Sample, judge_sample
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
        self._ends = end_tokens(loaded)

    def key(self, query: QueryRecord) -> str:
        """Digest of all that the samples of a query depend on."""
        adapter = self._loaded.adapter
        return digest_of(
            "samples",
            [self._digest, adapter.template_digest(), adapter.image_settings()],
            asdict(self.plan),
            as_json(query.asked),
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
        prompts = [loaded.adapter.encode(one.asked, media, []) for one, media in queries]
        seeds = [plan.seed_of(one, n) for one, _ in queries for n in range(plan.samples)]
        answers = write_answers(
            loaded.model,
            loaded.adapter,
            prompts,
            choose=choose_sampled(seeds, temperature=plan.temperature, top_p=plan.top_p),
            ends=self._ends,
            max_new_tokens=plan.max_new_tokens,
            samples=plan.samples,
        )
        found = [
            self._judge(answer, prompts[number // plan.samples])
            for number, answer in enumerate(answers)
        ]
        return [found[at : at + plan.samples] for at in range(0, len(found), plan.samples)]

    def check(self, query: QueryRecord, load: Callable[[], Sequence[LoadedMedia]]) -> None:
        """Refuse a query that leaves no room for an answer; media are opened if they decide.

        Args:
            query: The query.
            load: Loads its media.

        Raises:
            DataError: It is too long, or holds something that the chat template reserves.
        """
        check_room(self._loaded, query, load)

    def _judge(self, answer: Answer, prompt: EncodedGroup) -> Sample:
        text, thought = read_answer(self._loaded.processor.tokenizer, prompt, answer)
        sample = judge_sample(text, ended=answer.ended)
        if thought is not None:
            flaw: Flaw | None = "unfinishedThought" if sample.flaw == "empty" else sample.flaw
            sample = replace(sample, flaw=flaw, thought=True)
        if sample.flaw is not None:
            return sample
        if len(prompt.prompt_ids) + len(answer.tokens) > self._loaded.max_tokens:
            return replace(sample, flaw="tooLong")
        try:
            self._loaded.adapter.chat.text_ids(sample.text, "responses[0].text")
        except DataError:
            return replace(sample, flaw="unusable")
        return sample

"""A policy's own answers to queries, greedy and kept one by one, for those who judge them.

They are made once, whoever judges them: judging again, by another judge or with another limit, asks
the policy nothing, and a large judge need not share the memory of a GPU with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.identity import digest_of, response_id
from mmrlhf_jobs.data.media import LoadedMedia, check_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.parts import GenerationParams, ModelOrigin, Usage
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.data.responses import Response
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults, repeated_id
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import Answer, end_tokens, write_answers
from mmrlhf_jobs.forward.reading import read_answer
from mmrlhf_jobs.forward.room import check_room
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.storage.journal import Journal
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["AnswersReport", "Load", "Policy", "answer_queries", "usable_queries"]

Load = Callable[[QueryRecord], Sequence[LoadedMedia]]
"""Loads the media of a query."""


@dataclass
class AnswersReport:
    """What became of the queries.

    Attributes:
        rows: Rows that were read.
        invalid: Rows that are no queries or cannot be asked, by reason.
        queries: Queries that were asked.
        answered: Those with an answer; the others got an empty one.
        answered_now: Queries that were asked in this run; an earlier one had asked the others.
        cut_off: Answers that came to the most tokens; they are kept as far as they go.
        unanswered: Queries without an answer, by reason.
    """

    rows: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    queries: int = 0
    answered: int = 0
    answered_now: int = 0
    cut_off: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "rows": self.rows,
            "invalid": dict(self.invalid),
            "queries": self.queries,
            "answered": self.answered,
            "answeredNow": self.answered_now,
            "cutOff": self.cut_off,
            "unanswered": dict(self.unanswered),
        }


class Policy:
    """Answers queries with a model of this machine.

    Args:
        loaded: The policy.
        name: Its name in records.
        digest: Digest of its files.
        max_new_tokens: Most tokens of an answer.
        uri: Where it is.
        artifact: Digest of the artifact that it is; None where it is none.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        name: str,
        digest: str,
        max_new_tokens: int,
        uri: str | None = None,
        artifact: str | None = None,
    ) -> None:
        self._loaded = loaded
        self._name = name
        self._digest = digest
        self._uri, self._artifact = uri, artifact
        self._most = max_new_tokens
        self._ends = end_tokens(loaded)

    def key(self, query: QueryRecord) -> str:
        """Digest of all that the answer to a query depends on."""
        adapter = self._loaded.adapter
        return digest_of(
            "answer",
            [self._digest, adapter.template_digest(), adapter.image_settings()],
            self._most,
            as_json(query.asked),
            list(query.media_sha256s),
        ).hex()

    def check(self, query: QueryRecord, load: Callable[[], Sequence[LoadedMedia]]) -> None:
        """Refuse a query that leaves no room for an answer; media are opened if they decide.

        Raises:
            DataError: It is too long, or holds something that the chat template reserves.
        """
        check_room(self._loaded, query, load)

    def answer(
        self, queries: Sequence[tuple[QueryRecord, Sequence[LoadedMedia]]]
    ) -> list[dict[str, Any]]:
        """Answer queries in one batch.

        Returns:
            For each its text, whether it came to its end, whether it holds a thought, and tokens.

        Raises:
            DataError: A question holds something that the chat template reserves.
        """
        loaded = self._loaded
        prompts = [loaded.adapter.encode(one.asked, media, []) for one, media in queries]
        answers = write_answers(
            loaded.model,
            loaded.adapter,
            prompts,
            choose=choose_likeliest,
            ends=self._ends,
            max_new_tokens=self._most,
        )
        return [self._told(*pair) for pair in zip(prompts, answers, strict=True)]

    def response(self, query: QueryRecord, kept: dict[str, Any]) -> Response | None:
        """The answer as records keep it; None where it has no text."""
        text = kept["text"].strip()
        if not text:
            return None
        origin = ModelOrigin(
            name=self._name,
            revision=self._digest,
            uri=None if self._artifact is None else self._uri,
            artifact=self._artifact,
            params=GenerationParams(temperature=0.0, max_tokens=self._most),
            finish_reason="stop" if kept["ended"] else "length",
            usage=Usage(prompt_tokens=kept["promptTokens"], completion_tokens=kept["tokens"]),
        )
        name = response_id(query.record_id, text, model=self._name)
        return Response(response_id=name, text=text, model=origin)

    def _told(self, prompt: EncodedGroup, answer: Answer) -> dict[str, Any]:
        text, thought = read_answer(self._loaded.processor.tokenizer, prompt, answer)
        return {
            "text": text,
            "ended": answer.ended,
            "thought": thought is not None,
            "promptTokens": len(prompt.prompt_ids),
            "tokens": len(answer.tokens),
        }


def usable_queries(
    queries: Iterable[QueryRecord],
    policy: Policy,
    faults: RowFaults,
    *,
    load: Load,
    folders: MediaFolders,
    storage: StorageOptions | None = None,
) -> list[QueryRecord]:
    """The queries that can be asked; the others are noted, before anything is asked.

    Args:
        queries: All that are queries.
        policy: Who is asked.
        faults: Takes those that cannot be.
        load: Loads media.
        folders: Where media may be.
        storage: Where the object store is.
    """
    found: list[QueryRecord] = []
    seen: dict[str, RowLocation] = {}
    for query in queries:
        place = query.location
        first = seen.setdefault(query.record_id, place)
        try:
            if first is not place:
                raise RowFault(repeated_id(first.file, first.row), kind="repeated-id")
            check_media(query, folders, storage=storage)
            policy.check(query, partial(load, query))
        except DataError as error:
            located = DataError(
                error.reason,
                file=place.file,
                row=place.row,
                field=error.field,
                fault=error.fault or "unusable",
            )
            faults.add(located)
            continue
        found.append(query)
    return found


def answer_queries(
    queries: Sequence[QueryRecord],
    policy: Policy,
    journal: Journal,
    *,
    load: Load,
    batch_size: int,
    report: AnswersReport,
    count: Callable[[int, int], None],
) -> Iterator[QueryRecord]:
    """Answer what is not answered yet; then the queries with their answers, in their order.

    Args:
        queries: What to answer.
        policy: Who answers.
        journal: Keeps answers.
        load: Loads the media of a query.
        batch_size: Queries answered at once.
        report: Filled in.
        count: Told how many are done, and of how many.

    Yields:
        Each query with its answer as its only response, or none where the answer was empty.

    Raises:
        DataError: A question holds something that the chat template reserves.
    """
    missing = [query for query in queries if journal.get(policy.key(query)) is None]
    count(len(queries) - len(missing), len(queries))
    for at in range(0, len(missing), batch_size):
        batch = missing[at : at + batch_size]
        answers = policy.answer([(one, load(one)) for one in batch])
        for query, told in zip(batch, answers, strict=True):
            journal.put(policy.key(query), told)
            report.answered_now += 1
        count(len(queries) - len(missing) + report.answered_now, len(queries))
    for query in queries:
        kept = journal.get(policy.key(query))
        assert kept is not None, "it was answered"
        report.queries += 1
        report.cut_off += not kept["ended"]
        response = policy.response(query, kept)
        report.answered += response is not None
        if response is None:
            report.unanswered["unfinishedThought" if kept["thought"] else "empty"] += 1
        yield query.model_copy(update={"responses": () if response is None else (response,)})

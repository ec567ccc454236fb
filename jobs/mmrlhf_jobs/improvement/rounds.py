"""A data set through sampling and ranking, resumable at every query.

First all queries are sampled, then all samples are scored, so that policy and reward model need not
be in memory together. Samples and scores are kept in a journal under the content that they depend
on; the records are made from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.data.parts import ModelOrigin
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.improvement.groups import Candidates, Sample, find_candidates, form_group
from mmrlhf_jobs.scores.keys import SidecarIdentity, content_key
from mmrlhf_jobs.storage.journal import Journal

__all__ = [
    "ImprovementReport",
    "ResponseSampler",
    "ResponseScorer",
    "Scored",
    "rank_samples",
    "sample_queries",
]

Load = Callable[[QueryRecord], Sequence[LoadedMedia]]
"""Loads the media of a query."""


class ResponseSampler(Protocol):
    """Something that gives several responses to a query."""

    def key(self, query: QueryRecord) -> str:
        """Digest of all that the samples of a query depend on."""

    def origins(self, query: QueryRecord) -> list[ModelOrigin]:
        """Where each of a query's samples comes from."""

    def sample(
        self, queries: Sequence[tuple[QueryRecord, Sequence[LoadedMedia]]]
    ) -> list[list[Sample]]:
        """Per query its samples."""


class Scored(Protocol):
    """A verdict on a response."""

    @property
    def score(self) -> float:
        """The higher the better."""


class ResponseScorer(Protocol):
    """A reward model."""

    def identity(self) -> SidecarIdentity:
        """What its scores depend on besides the content."""

    def score(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str], /
    ) -> Sequence[Scored]:
        """Verdicts on the responses to one query; they do not depend on each other."""


@dataclass
class ImprovementReport:
    """What became of the queries.

    Attributes:
        queries: Queries read.
        invalid: Rows that are no queries or whose media or text cannot be used, by reason.
        samples: Samples of them.
        sampled_now: Queries sampled in this run; an earlier one had sampled the others.
        scored_now: Queries scored in this run.
        flaws: Samples that cannot be used, by flaw.
        identical: Samples dropped because an earlier one of the query had the same text.
        no_pair: Queries left out, by reason.
        records: Records made.
        responses: Responses in them.
        pairs: Pairs that their ranks form.
        spread: Sum over the records of the best score minus the worst.
    """

    queries: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    sampled_now: int = 0
    scored_now: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    identical: int = 0
    no_pair: Counter[str] = field(default_factory=Counter)
    records: int = 0
    responses: int = 0
    pairs: int = 0
    spread: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "queries": self.queries,
            "invalid": dict(self.invalid),
            "samples": self.samples,
            "sampledNow": self.sampled_now,
            "scoredNow": self.scored_now,
            "flaws": dict(self.flaws),
            "identical": self.identical,
            "noPair": dict(self.no_pair),
            "records": self.records,
            "responses": self.responses,
            "pairs": self.pairs,
            "meanSpread": self.spread / self.records if self.records else None,
        }


def sample_queries(
    queries: Iterable[QueryRecord],
    sampler: ResponseSampler,
    journal: Journal,
    *,
    load: Load,
    report: ImprovementReport,
    batch_size: int = 1,
) -> None:
    """Sample all queries that the journal has no samples of; each batch is kept when it is done.

    Args:
        queries: The queries.
        sampler: The policy.
        journal: Where samples are kept.
        load: Loads media.
        report: Filled in.
        batch_size: Queries sampled at once.

    Raises:
        DataError: Media are missing or damaged, or a question cannot be asked.
    """
    missing = (query for query in queries if journal.get(sampler.key(query)) is None)
    while batch := list(islice(missing, batch_size)):
        found = sampler.sample([(query, load(query)) for query in batch])
        for query, samples in zip(batch, found, strict=True):
            journal.put(sampler.key(query), {"samples": [asdict(sample) for sample in samples]})
            report.sampled_now += 1


def rank_samples(
    queries: Iterable[QueryRecord],
    sampler: ResponseSampler,
    scorer: ResponseScorer,
    journal: Journal,
    *,
    load: Load,
    report: ImprovementReport,
    min_spread: float = 0.0,
) -> Iterator[tuple[RankedResponse, list[float]]]:
    """Score and rank the samples that the journal holds.

    Args:
        queries: The queries, all of which were sampled.
        sampler: The policy, for the keys of its samples.
        scorer: The reward model.
        journal: Where samples are and scores are kept.
        load: Loads media.
        report: Filled in.
        min_spread: The best score must be more than this above the worst.

    Yields:
        Records with the scores of their responses, in their order; queries without a pair are
        left out and counted.

    Raises:
        DataError: Two queries have one id, media are missing, or a score is not finite.
    """
    seen: set[str] = set()
    for query in queries:
        if query.record_id in seen:
            raise DataError(f"two queries have the id {query.record_id!r}; ids must be unique")
        seen.add(query.record_id)
        entry = journal.get(sampler.key(query))
        assert entry is not None, f"record {query.record_id!r} was sampled in this run"
        samples = [Sample(**values) for values in entry["samples"]]
        candidates = find_candidates(samples)
        report.queries += 1
        report.samples += len(samples)
        report.flaws.update(sample.flaw for sample in samples if sample.flaw is not None)
        report.identical += candidates.repeated
        if candidates.obstacle is not None:
            report.no_pair[candidates.obstacle] += 1
            continue
        scores = _scores(query, candidates, scorer, journal, load=load, report=report)
        try:
            group = form_group(
                query,
                candidates,
                scores,
                origins=sampler.origins(query),
                min_spread=min_spread,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        if isinstance(group, str):
            report.no_pair[group] += 1
            continue
        report.records += 1
        report.responses += len(group.responses)
        report.pairs += len(form_pairs(group.ranks))
        report.spread += max(scores) - min(scores)
        yield group, scores


def _scores(
    query: QueryRecord,
    candidates: Candidates,
    scorer: ResponseScorer,
    journal: Journal,
    *,
    load: Load,
    report: ImprovementReport,
) -> list[float]:
    contents = [
        content_key(query.asked, query.media_sha256s, text).hex() for text in candidates.texts
    ]
    key = digest_of("scores", asdict(scorer.identity()), contents).hex()
    entry = journal.get(key)
    if entry is None:
        verdicts = scorer.score(query.asked, load(query), candidates.texts)
        entry = {"scores": [verdict.score for verdict in verdicts]}
        journal.put(key, entry)
        report.scored_now += 1
    return [float(score) for score in entry["scores"]]

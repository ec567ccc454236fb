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
from mmrlhf_jobs.improvement.groups import (
    Candidates,
    Sample,
    find_candidates,
    form_group,
    judge_for,
    without_texts,
)
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


Refuse = Callable[[QueryRecord, DataError], None]
"""Takes a query that cannot be used after all, and why."""


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
        rows: Rows of this part: queries that were sampled, and invalid ones.
        queries: Queries that were sampled.
        invalid: Rows that are no queries or whose media or text cannot be used, by reason.
        samples: Samples of them.
        sampled_now: Queries sampled in this run; an earlier one had sampled the others.
        scored_now: Queries scored in this run.
        flaws: Samples that cannot be used, by flaw.
        reasoned: Samples before which the policy told what it thought, which is no part of them.
        too_long_to_score: Responses that the reward model does not take, and that are left out.
        identical: Samples dropped because an earlier one of the query had the same text.
        no_pair: Queries left out, by reason.
        records: Records made.
        responses: Responses in them.
        pairs: Pairs that their ranks form.
        spread: Sum over the records of the best score minus the worst.
    """

    rows: int = 0
    queries: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    sampled_now: int = 0
    scored_now: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    reasoned: int = 0
    identical: int = 0
    too_long_to_score: int = 0
    no_pair: Counter[str] = field(default_factory=Counter)
    records: int = 0
    responses: int = 0
    pairs: int = 0
    spread: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values with wire names."""
        return {
            "rows": self.rows,
            "queries": self.queries,
            "invalid": dict(self.invalid),
            "samples": self.samples,
            "sampledNow": self.sampled_now,
            "scoredNow": self.scored_now,
            "flaws": dict(self.flaws),
            "reasoned": self.reasoned,
            "identical": self.identical,
            "tooLongToScore": self.too_long_to_score,
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
    refuse: Refuse | None = None,
) -> None:
    """Sample all queries that the journal has no samples of; each batch is kept when it is done.

    Args:
        queries: The queries.
        sampler: The policy.
        journal: Where samples are kept.
        load: Loads media.
        report: Filled in.
        batch_size: Queries sampled at once.
        refuse: Takes queries whose media cannot be loaded any more; None: they end the run.

    Raises:
        DataError: Media are missing or damaged and nobody takes that.
    """
    missing = (query for query in queries if journal.get(sampler.key(query)) is None)
    loaded = ((query, media) for query in missing if (media := _load(query, load, refuse)))
    while batch := [(query, *media) for query, media in islice(loaded, batch_size)]:
        found = sampler.sample(batch)
        for (query, _), samples in zip(batch, found, strict=True):
            journal.put(sampler.key(query), {"samples": [asdict(sample) for sample in samples]})
            report.sampled_now += 1


def _load(
    query: QueryRecord, load: Load, refuse: Refuse | None
) -> tuple[Sequence[LoadedMedia]] | None:
    """Media of a query, in a tuple, since there may be none; None if it was refused."""
    try:
        return (load(query),)
    except DataError as error:
        if refuse is None:
            raise
        refuse(query, error)
        return None


def rank_samples(
    queries: Iterable[QueryRecord],
    sampler: ResponseSampler,
    scorer: ResponseScorer,
    journal: Journal,
    *,
    load: Load,
    report: ImprovementReport,
    min_spread: float = 0.0,
    refuse: Refuse | None = None,
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
        refuse: Takes queries whose media cannot be loaded any more; None: they end the run.

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
        samples = [judge_for(query, Sample(**values)) for values in entry["samples"]]
        candidates = find_candidates(samples)
        scored = None
        if candidates.obstacle is None:
            scored = _scores(
                query, candidates, scorer, journal, load=load, report=report, refuse=refuse
            )
            if scored is None:
                continue
        report.queries += 1
        report.samples += len(samples)
        report.reasoned += sum(bool(sample.thought) for sample in samples)
        report.flaws.update(sample.flaw for sample in samples if sample.flaw is not None)
        report.identical += candidates.repeated
        if scored is None:
            report.no_pair[candidates.obstacle or "noneUsable"] += 1
            continue
        candidates, scores = _scored_ones(candidates, scored)
        report.too_long_to_score += len(scored) - len(scores)
        if candidates.obstacle is not None:
            report.no_pair["tooLongToScore"] += 1
            continue
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


def _scored_ones(
    candidates: Candidates, scores: Sequence[float | None]
) -> tuple[Candidates, list[float]]:
    """The candidates that have scores, and those."""
    unscored = [place for place, score in enumerate(scores) if score is None]
    return without_texts(candidates, unscored), [one for one in scores if one is not None]


def _scores(
    query: QueryRecord,
    candidates: Candidates,
    scorer: ResponseScorer,
    journal: Journal,
    *,
    load: Load,
    report: ImprovementReport,
    refuse: Refuse | None,
) -> list[float | None] | None:
    """Scores of all candidates, None for those that are too long; None if media are gone."""
    contents = [
        content_key(query.asked, query.media_sha256s, text).hex() for text in candidates.texts
    ]
    key = digest_of("scores", asdict(scorer.identity()), contents).hex()
    entry = journal.get(key)
    if entry is None:
        media = _load(query, load, refuse)
        if media is None:
            return None
        entry = {"scores": _score_each(query, candidates.texts, scorer, *media)}
        journal.put(key, entry)
        report.scored_now += 1
    return [None if score is None else float(score) for score in entry["scores"]]


def _score_each(
    query: QueryRecord,
    texts: Sequence[str],
    scorer: ResponseScorer,
    media: Sequence[LoadedMedia],
) -> list[float | None]:
    try:
        return [verdict.score for verdict in scorer.score(query.asked, media, texts)]
    except DataError as error:
        if error.fault != "too-long":
            raise
        if len(texts) == 1:
            return [None]
    # Scores do not depend on each other: those that fit are as they would have been.
    return [score for text in texts for score in _score_each(query, [text], scorer, media)]

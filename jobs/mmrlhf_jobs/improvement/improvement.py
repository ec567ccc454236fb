"""A whole improvement: queries in, ranked records and their scores out, shared by processes."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.data.media import LoadedMedia, check_media, load_media
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.row_faults import RowFaults, repeated_id
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.kept_features import KeptFeatures
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.improvement.rounds import (
    ImprovementReport,
    rank_samples,
    sample_queries,
)
from mmrlhf_jobs.improvement.sampling import PolicySampler
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.folders import fetch_model
from mmrlhf_jobs.models.loading import Dtype
from mmrlhf_jobs.models.policy import load_policy
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.shared_work import SharedWork
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, RewardModelCard
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from mmrlhf_jobs.storage.journal import Journal
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Improvement", "improve"]


@dataclass(frozen=True)
class Improvement:
    """What to improve on what.

    Attributes:
        queries: ``Query/v1`` or ``RankedResponse/v1`` records.
        media_root: Folder of their media; None: that of the queries.
        allowed_media_roots: Other folders that media may be in.
        part: Number and count: only every count-th row from this one on.
        policy: Folder of the model to sample from.
        policy_name: Its name in the records.
        chat_template: Whose chat template it is asked by, where it has two that differ.
        reward: Folder of the reward model.
        dtype: Type of the weights of both.
        plan: How to sample.
        min_spread: The best score must be more than this above the worst.
        batch_size: Queries sampled at once.
        max_invalid_fraction: Share of the rows that may be invalid and are left out then.
        out: Records to write.
        scores: Side-car to write.
        journal: Opens the journal of samples and scores that all processes share.
    """

    queries: str
    media_root: str | None
    allowed_media_roots: tuple[str, ...]
    part: tuple[int, int]
    policy: str
    policy_name: str
    chat_template: TemplateOwner
    reward: str
    dtype: Dtype
    plan: SamplingPlan
    min_spread: float
    batch_size: int
    max_invalid_fraction: float
    out: str
    scores: str
    journal: Callable[[], Journal]


def improve(
    asked: Improvement,
    context: TrainingContext,
    *,
    storage: StorageOptions,
    features: KeptFeatures,
) -> ImprovementReport:
    """Make ranked records of a policy's own responses.

    Each process takes the next batch of queries when it is done with one. What it makes is in the
    journal, from which the first process writes the files when all are done. Where both models have
    the same vision tower, the reward model finds the features that the policy's has made.

    Raises:
        InputError: The queries or a model is wrong.
        StorageError: A file cannot be written.
        Interrupted: The process was asked to stop; what is done is kept.
    """
    runtime = context.runtime
    scratch = context.scratch / f"rank-{runtime.rank}"
    source = Source(
        asked.queries,
        media_root=asked.media_root,
        storage=storage,
        allowed_media_roots=asked.allowed_media_roots,
    )
    load = partial(load_media, root=source.media_folders(), storage=storage)
    # Sampling takes hours: what is no reward model is told before.
    reward = fetch_model(asked.reward, scratch / "reward", storage)
    RewardModelCard.read(reward)
    report = ImprovementReport()
    with asked.journal() as journal:
        context.progress.emit("phase", phase="sample", message=f"sampling from {asked.policy}")
        sampler, policy = _load_policy(asked, context, scratch / "policy", storage)
        features.keep(policy, "policy")
        batches = _Batches(source, asked, context, sampler, load)
        for batch in batches.share("sample"):
            sample_queries(
                batch,
                sampler,
                journal,
                load=load,
                report=report,
                batch_size=asked.batch_size,
                refuse=batches.refuse,
            )
        batches.leave_out()
        journal.catch_up()
        # The policy's keys are still needed, its weights are not.
        policy.model.to("meta")
        gc.collect()
        context.progress.emit("phase", phase="score", message=f"scoring with {asked.reward}")
        scorer = CritiqueRewardModel.from_pretrained(
            reward, dtype=asked.dtype, device=runtime.device, tell=context.tell
        )
        features.keep(scorer.loaded, "reward model")
        rank = partial(
            rank_samples,
            sampler=sampler,
            scorer=scorer,
            journal=journal,
            load=load,
            min_spread=asked.min_spread,
        )
        scored = ImprovementReport()
        for batch in batches.share("score"):
            deque(rank(batch, report=scored, refuse=batches.refuse), maxlen=0)
        batches.leave_out()
        journal.catch_up()
        report.rows, report.invalid = batches.faults.rows, dict(batches.faults.counts)
        # What is ranked now is in the journal, whoever has sampled and scored it.
        write = partial(_write, asked, scorer.identity(), storage=storage)
        runtime.on_main(lambda: write(rank(batches.queries(), report=report)))
    report.sampled_now, report.scored_now = map(
        int, runtime.sum([report.sampled_now, report.scored_now + scored.scored_now])
    )
    return report


class _Batches:
    """The queries of a run, in batches that the processes share."""

    def __init__(
        self,
        source: Source,
        asked: Improvement,
        context: TrainingContext,
        sampler: PolicySampler,
        load: Callable[[QueryRecord], Sequence[LoadedMedia]],
    ) -> None:
        self._source = source
        self._part = asked.part
        self._size = asked.batch_size
        self._max_invalid_fraction = asked.max_invalid_fraction
        self._runtime = context.runtime
        self._unusable: set[tuple[str, int]] = set()
        self._refused: list[tuple[str, int, str, str, str]] = []
        self.faults = RowFaults()
        self._look(sampler, load)
        self._count = -(-sum(1 for _ in self.queries()) // self._size)
        self._progress = context.progress
        self._work = SharedWork(context.runtime, context.interruption, (), self._tell)

    def queries(self) -> Iterator[QueryRecord]:
        """All that can be used, from the start."""
        for query in self._mine(RowFaults()):
            if _place(query) not in self._unusable:
                yield query

    def refuse(self, query: QueryRecord, error: DataError, kind: str = "unusable") -> None:
        """Note a query that cannot be used after all; see `leave_out`."""
        field = error.field or "query.text"
        self._refused.append((*_place(query), error.fault or kind, field, error.reason))

    def leave_out(self) -> None:
        """Leave out what any process has refused, and hold it all to the budget.

        Raises:
            DataError: More rows are at fault than allowed; on every process.
        """
        found = sorted(one for part in self._runtime.gather(self._refused) for one in part)
        self._refused = []
        for file, row, kind, field, reason in found:
            if (file, row) not in self._unusable:
                self._unusable.add((file, row))
                self.faults.add(DataError(reason, file=file, row=row, field=field, fault=kind))
        # A part of a small data set may have no row.
        if self.faults.rows or self._part[1] == 1:
            self.faults.check(self._max_invalid_fraction)

    def _mine(self, faults: RowFaults) -> Iterator[QueryRecord]:
        return stream_queries(self._source, faults, part=self._part)

    def _look(
        self, sampler: PolicySampler, load: Callable[[QueryRecord], Sequence[LoadedMedia]]
    ) -> None:
        """Note rows that are no queries, and those whose media or texts no model can be given."""
        runtime, folders = self._runtime, self._source.media_folders()
        seen: dict[str, tuple[str, int]] = {}
        for place, query in enumerate(self._mine(self.faults)):
            first = seen.setdefault(query.record_id, _place(query))
            if place % runtime.world_size != runtime.rank:
                continue
            try:
                _check_id(query, first)
                check_media(query, folders, storage=self._source.storage)
                sampler.check(query, partial(load, query))
            except DataError as error:
                self.refuse(query, error)
        self.leave_out()

    def share(self, stage: str) -> Iterator[list[QueryRecord]]:
        """Batches for this process; ends when all processes are done with all."""
        queries, at = self.queries(), 0
        # Places only grow, so that one pass over the queries serves all of them.
        for place in self._work.share(stage, range(self._count)):
            deque(islice(queries, (place - at) * self._size), maxlen=0)
            at = place + 1
            yield list(islice(queries, self._size))

    def _tell(self, counts: dict[str, int]) -> None:
        # Every batch is sampled and then scored.
        self._progress.emit("step", step=counts.get("parts", 0), totalSteps=2 * self._count)


def _place(query: QueryRecord) -> tuple[str, int]:
    """File and row of a query."""
    return query.location.file or "", query.location.row or 0


def _check_id(query: QueryRecord, first: tuple[str, int]) -> None:
    if first != _place(query):
        raise DataError(repeated_id(*first), field="record_id", fault="duplicate")


def _load_policy(
    asked: Improvement, context: TrainingContext, scratch: Path, storage: StorageOptions
) -> tuple[PolicySampler, LoadedModel]:
    loaded, digest = load_policy(
        asked.policy,
        dtype=asked.dtype,
        chat_template=asked.chat_template,
        device=context.runtime.device,
        scratch=scratch,
        storage=storage,
        tell=context.tell,
    )
    return PolicySampler(loaded, asked.plan, name=asked.policy_name, digest=digest), loaded


def _write(
    asked: Improvement,
    identity: SidecarIdentity,
    ranked: Iterator[tuple[RankedResponse, list[float]]],
    *,
    storage: StorageOptions,
) -> None:
    with SidecarWriter(asked.scores, identity, storage=storage) as writer:

        def records() -> Iterator[RankedResponse]:
            for record, values in ranked:
                writer.write(
                    record_keys(record),
                    values,
                    record_id=record.record_id,
                    response_ids=[one.response_id for one in record.responses],
                )
                yield record

        write_records(records(), asked.out, storage=storage)

"""Scores of a reward model for all responses of a data set (paper 3.2, Inference)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from mmrlhf_jobs.data.critiques import CritiqueSource, critique_of
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.sharing import Found
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.queries.judged import JudgedQueryBuilder
from mmrlhf_jobs.queries.preference import located
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, Verdict
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.parts import Valued
from mmrlhf_jobs.scores.passes import Item
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset
from mmrlhf_jobs.training.preparation import Preparation
from mmrlhf_jobs.training.proof import FIRST_QUERIES

__all__ = [
    "BATCH_TOKENS",
    "QUERIES_PER_PART",
    "Make",
    "RewardScoring",
    "score_dataset",
    "score_records",
    "scoring_check",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

QUERIES_PER_PART = 16
"""Queries whose scores are written at once; what a kill can cost."""

BATCH_TOKENS = 65_536
"""Places of the cache that a batch may take; 4 GB for 7 billion weights, 57 kB a place."""


class RewardScoring:
    """Scores items of a side-car pass.

    Args:
        model: The reward model.
        dataset: Where the items come from.
        batch_tokens: Places of the cache, padding and critiques included, that a batch may take;
            queries are joined to batches of similar length up to that.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        model: CritiqueRewardModel,
        dataset: RankedDataset,
        *,
        batch_tokens: int = BATCH_TOKENS,
        storage: StorageOptions | None = None,
    ) -> None:
        self._model = model
        self._dataset = dataset
        self._batch_tokens = batch_tokens
        self._storage = storage
        self.cut = 0
        """Critiques that were ended at the largest length so far."""

    def score(self, items: Sequence[Item]) -> list[Valued]:
        """Scores and critiques, in the order of the items.

        Raises:
            DataError: A media file cannot be read, a text does not fit the model, or a response
                lacks the critique that it is to be scored after.
        """
        groups = [self._encode(*item) for item in items]
        verdicts: dict[int, Sequence[Verdict]] = {}
        for batch in self._together(self._batches(groups)):
            texts = [
                (items[place][0].asked, items[place][0].responses[index].text)
                for place in batch
                for index in items[place][1]
            ]
            found = iter(self._model.score_groups([groups[place] for place in batch], texts))
            for place in batch:
                verdicts[place] = [next(found) for _ in items[place][1]]
        self.cut += sum(verdict.cut for several in verdicts.values() for verdict in several)
        return [
            Valued(
                key=record_keys(record)[index],
                value=verdict.score,
                record_id=record.record_id,
                response_id=record.responses[index].response_id,
                critique="\n\n".join(verdict.critiques) if verdict.critiques else None,
            )
            for place, (record, indices) in enumerate(items)
            for index, verdict in zip(indices, verdicts[place], strict=True)
        ]

    def _together(self, batches: Iterator[list[int]]) -> Iterator[list[int]]:
        """Batches; where processes share the weights, each makes as many passes as the others.

        Who has less to do scores the first response of all again, and drops what comes of it.
        """
        splitter = self._model.splitter
        if splitter is None:
            yield from batches
            return
        while splitter.any((batch := next(batches, None)) is not None):
            if batch is not None:
                yield batch
            else:
                record = next(iter(self._dataset.share()))
                text = (record.asked, record.responses[0].text)
                self._model.score_groups([self._encode(record, (0,))], [text])

    def find_sharing(self) -> Found:
        """Whether responses share a prompt, and how, by the data set's first queries.

        Raises:
            DataError: As `score`.
            ModelError: They are not read as transformers reads them.
        """
        first = islice(self._dataset.share(), FIRST_QUERIES)
        return self._model.sharing.find(
            [self._encode(record, range(len(record.responses))) for record in first]
        )

    def _encode(self, record: RankedResponse, indices: Sequence[int]) -> EncodedGroup:
        responses = [record.responses[index] for index in indices]
        critiques = None
        with located(record, indices):
            if self._model.needs_critiques:
                source: CritiqueSource = self._model.card.critique
                critiques = []
                for place, response in enumerate(responses):
                    critique = critique_of(response, source)
                    if critique is None:
                        raise _no_critique(place, source)
                    critiques.append(critique)
            return self._model.encode(
                record.asked,
                load_media(record, self._dataset.media_folders, storage=self._storage),
                [response.text for response in responses],
                critiques,
            )

    def _batches(self, groups: Sequence[EncodedGroup]) -> Iterator[list[int]]:
        """Places of groups that go through the model together, long ones first."""
        inference = self._model.inference
        generated = inference.critique == "generated"
        extra = inference.max_new_tokens + 1 if generated else 0
        samples = inference.samples

        def length(group: EncodedGroup) -> int:
            return len(group.prompt_ids) + max(map(len, group.responses)) + extra

        batch: list[int] = []
        rows = longest = 0
        for place in sorted(range(len(groups)), key=lambda place: -length(groups[place])):
            own = len(groups[place].responses) * samples
            if batch and (rows + own) * longest > self._batch_tokens:
                yield batch
                batch, rows, longest = [], 0, 0
            batch.append(place)
            rows += own
            longest = max(longest, length(groups[place]))
        if batch:
            yield batch


def scoring_check(
    model: CritiqueRewardModel, records: RankedDataset, storage: StorageOptions | None
) -> Callable[[RankedResponse], None]:
    """A check of records that are to be scored; see `JudgedQueryBuilder.check`."""
    given = model.needs_critiques
    builder = JudgedQueryBuilder(
        model.template,
        media_root=records.media_folders,
        mode="all",
        critique=model.card.critique if given else "none",
        storage=storage,
    )

    def check(record: RankedResponse) -> None:
        for place, response in enumerate(record.responses if given else ()):
            if critique_of(response, model.card.critique) is None:
                with located(record, range(len(record.responses))):
                    raise _no_critique(place, model.card.critique)
        builder.check(record)

    return check


def _no_critique(place: int, source: CritiqueSource) -> DataError:
    return DataError(
        f"there is no {source} critique to score this response after; add it, or score with "
        "generated critiques",
        field=f"responses[{place}].critique",
        fault="no-critique",
    )


class Make(Protocol[T_co]):
    """Makes a side-car of values that are computed, wherever it is to be."""

    def __call__(
        self,
        identity: SidecarIdentity,
        dataset: RankedDataset,
        compute: Callable[[Sequence[Item]], Sequence[Valued]],
        *,
        queries_per_batch: int,
        together: bool = False,
    ) -> T_co:
        """Arguments and errors as in `fill_parts`."""


def score_records(
    model: CritiqueRewardModel,
    records: RankedDataset,
    make: Make[T],
    *,
    context: TrainingContext,
    storage: StorageOptions | None,
    batch_tokens: int = BATCH_TOKENS,
) -> tuple[T, int]:
    """Score a data set, shared among the processes.

    Args:
        model: The reward model.
        records: What to score.
        make: Where the scores go: `SidecarCache.make`, or `make_sidecar` for a file.
        context: The processes.
        storage: How to reach an object store.
        batch_tokens: See `RewardScoring`.

    Returns:
        What was made, and how many critiques were ended at the largest length.

    Raises:
        Interrupted: The job was asked to stop; what is done is kept.
        DataError: See `RewardScoring.score`.
    """
    scoring = RewardScoring(model, records, batch_tokens=batch_tokens, storage=storage)
    divided = model.splitter is not None
    if model.inference.critique != "generated":
        # All processes do the same, whatever queries each has.
        if divided:
            with model.passes():
                own = scoring.find_sharing()
            model.sharing.take(context.runtime.on_main(lambda: own))
        else:
            model.sharing.take(context.runtime.on_main(scoring.find_sharing))
    with model.passes():
        made = make(
            model.identity(),
            records,
            scoring.score,
            queries_per_batch=QUERIES_PER_PART,
            together=divided,
        )
    cut = int(context.runtime.sum([scoring.cut])[0])
    if cut:
        context.tell(
            f"{cut} critiques were ended at {model.inference.max_new_tokens} tokens "
            "(inference.maxNewTokens)"
        )
    return made, cut


def score_dataset(
    model: CritiqueRewardModel, dataset: OpenDataset, preparation: Preparation
) -> Sidecar:
    """Scores of a data set within a job: from the cache, or made now and kept there.

    Raises:
        Interrupted, DataError: As `score_records`.
    """
    cache = preparation.sidecar_cache()
    found = cache.find(model.identity(), dataset.records)
    if found is not None:
        return found
    made, _ = score_records(
        model,
        dataset.records,
        cache.make,
        context=preparation.context,
        storage=preparation.options,
    )
    return made

"""Reference log-probabilities: once for each unique response, kept in a side-car.

DPO needs ``log pi_ref(y|x)`` (paper Eq. 4). The reference policy is the model before training, so
one pass before the first step serves all epochs, and every later run of the same model, template
and data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.queries.preference import located
from mmrlhf_jobs.reporting.events import Progress
from mmrlhf_jobs.scores.cache import SidecarCache
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.parts import Valued
from mmrlhf_jobs.scores.passes import Item
from mmrlhf_jobs.scores.table import Sidecar

__all__ = ["ReferencePass"]

_QUERIES_PER_PART: Final = 16
"""Queries whose values are written at once; what a kill can cost."""


class ReferencePass:
    """Makes, or finds, the reference log-probabilities of data sets.

    Args:
        cache: Where they are kept.
        model: The model before training.
        identity: Model, template and image settings that the values belong to.
        queries_at_once: Queries that go through the model at once.
        progress: Where live events go.
        together: Processes share the weights, so that all must make as many passes.
    """

    def __init__(
        self,
        cache: SidecarCache,
        *,
        model: ResponseModel,
        identity: SidecarIdentity,
        queries_at_once: int,
        progress: Progress,
        together: bool = False,
    ) -> None:
        self._cache = cache
        self._model = model
        self._identity = identity
        self._together = together
        self._at_once = queries_at_once
        self._progress = progress

    def sidecar(self, dataset: RankedDataset, *, given: str | None) -> Sidecar:
        """The side-car of a data set: the user's, from the cache, or computed now.

        Args:
            dataset: Records.
            given: Side-car of the user, used instead of computing.

        Raises:
            Interrupted: The job was asked to stop; what is done is kept.
            SidecarError: The side-car of the user belongs to another model or template.
        """
        if given is not None:
            return Sidecar.open(given, self._identity, storage=self._cache.storage)
        found = self._cache.find(self._identity, dataset)
        if found is not None:
            return found
        self._progress.emit(
            "phase",
            phase="reference",
            message=f"reference log-probabilities of {dataset.num_records} queries",
        )
        return self._cache.make(
            self._identity,
            dataset,
            lambda items: self._compute(dataset, items),
            together=self._together,
            # Each batch is a file of its own until all are joined.
            queries_per_batch=max(_QUERIES_PER_PART // self._at_once, 1) * self._at_once,
        )

    @torch.no_grad()
    def _compute(self, dataset: RankedDataset, items: Sequence[Item]) -> list[Valued]:
        groups, names = [], []
        for record, indices in items:
            responses = [record.responses[index] for index in indices]
            with located(record, indices):
                media = load_media(record, dataset.media_folders, storage=self._cache.storage)
                groups.append(
                    self._model.adapter.encode(
                        record.asked, media, [response.text for response in responses]
                    )
                )
            keys = record_keys(record)
            names += [
                (keys[index], record.record_id, response.response_id)
                for index, response in zip(indices, responses, strict=True)
            ]
        sums: list[float] = []
        for batch in self._batches(groups, dataset):
            output = self._model(batch)
            sums += output.sums.double().tolist()
        # Those of spare passes are of nobody.
        return [
            Valued(key, value, record_id, response_id)
            for (key, record_id, response_id), value in zip(names, sums, strict=False)
        ]

    def _batches(
        self, groups: Sequence[EncodedGroup], dataset: RankedDataset
    ) -> Iterator[Sequence[EncodedGroup]]:
        """Groups that go through the model at once; where processes gather weights, as many on all.

        Who has less to do takes a query again and drops what comes of it.
        """
        size = self._at_once
        own = [groups[start : start + size] for start in range(0, len(groups), size)]
        # Before the first pass, in which processes ask each other as well.
        most = self._cache.runtime.most([len(own)])[0] if self._together else len(own)
        yield from own
        for _ in range(most - len(own)):
            yield own[0][:1] if own else [self._first(dataset)]

    def _first(self, dataset: RankedDataset) -> EncodedGroup:
        """The first query, with its first response."""
        record = next(iter(dataset.share()))
        with located(record, (0,)):
            media = load_media(record, dataset.media_folders, storage=self._cache.storage)
            return self._model.adapter.encode(record.asked, media, [record.responses[0].text])

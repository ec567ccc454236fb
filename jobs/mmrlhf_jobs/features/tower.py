"""A frozen vision tower that runs once for each medium."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmrlhf_jobs.features.digests import digest_tensors
from mmrlhf_jobs.features.entry import Entry
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.features.units import Run, Units

__all__ = ["FrozenTower", "MediaInputs", "Most"]

Most = Callable[[Sequence[int]], Sequence[int]]
"""The largest of each number over all processes; every process calls it with as many."""


@dataclass(frozen=True)
class MediaInputs:
    """The media of one kind of one query.

    Attributes:
        tensors: What the processor made of them, all that decides about their features.
        run: Makes their features.
    """

    tensors: Mapping[str, Tensor]
    run: Run


class FrozenTower:
    """Makes features of media, and runs the tower for those alone that are not kept.

    Each query's media go through the tower by themselves, whatever else is in the batch, so that no
    bit of a feature depends on whether it was kept.

    Args:
        units: The frozen modules of the tower; they have learnt from the blank media.
        identity: Digest of all but the media that decides about features: weights, number format,
            attention, versions, settings.
        store: Where features are kept.
        blank: Per kind what the units have made of the smallest media there are.
        most: Asks all processes.
    """

    def __init__(
        self,
        units: Units,
        *,
        identity: str,
        store: FeatureStore,
        blank: Mapping[str, Entry],
        most: Most,
    ) -> None:
        self._units = units
        self._identity = identity
        self._store = store
        self._blank = blank
        self._most = most

    @property
    def is_frozen(self) -> bool:
        """Whether the tower is still not trained."""
        return self._units.are_frozen

    def encode(
        self, kind: str, media: Sequence[MediaInputs], *, blank: Run | None
    ) -> tuple[list[list[Tensor]], list[Tensor]]:
        """Features of the media of several queries.

        Args:
            kind: Their kind.
            media: Per query; may be empty.
            blank: Makes the features of the smallest media, if the weights are split over
                processes: all of them call this now and agree on how often the tower runs and how
                often what follows it, or they would wait for each other's weights for ever. Who has
                less to do takes these.

        Returns:
            Per query what its `run` made, and features of blank media that were made to keep step
            with other processes.
        """
        keys = [digest_tensors(one.tensors, self._identity, kind) for one in media]
        found = {key: self._store.get(key) for key in keys}
        missing = {key: one for key, one in zip(keys, media, strict=True) if found[key] is None}
        runs, passes = len(missing), len(media)
        if blank is not None:
            # At least one pass: every trained weight takes part in every step.
            runs, passes = self._most([runs, max(passes, 1)])
        with torch.no_grad():
            for key, one in missing.items():
                _, made = self._units.record(one.run)
                self._store.put(key, made)
                found[key] = made
            if blank is not None:
                for _ in range(runs - len(missing)):
                    self._units.record(blank)
        features = []
        for key, one in zip(keys, media, strict=True):
            entry = found[key]
            assert entry is not None
            features.append(self._units.replay(entry, one.run))
        spare: list[Tensor] = []
        if blank is not None:
            for _ in range(passes - len(media)):
                spare += self._units.replay(self._blank[kind], blank)
        return features, spare

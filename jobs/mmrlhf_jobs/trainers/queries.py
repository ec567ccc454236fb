"""Queries: records made ready for the model and the objective."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.pairs import Pair, PairMode, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.sidecars.keys import record_keys
from mmrlhf_jobs.sidecars.sidecar import Sidecar
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Query", "QueryBuilder", "located", "response_names", "used_responses"]


@dataclass(frozen=True)
class Query:
    """One query with the responses that occur in its pairs.

    Attributes:
        record_id: Record that it comes from.
        encoded: Token ids and media, R responses.
        pairs: Indices (chosen, rejected) into the responses, K pairs.
        reference: Log-probability of each response under the reference policy, float64[R], nats.
        rewards: Score of each response, float64[R], or None without a reward side-car.
    """

    record_id: str
    encoded: EncodedGroup
    pairs: tuple[Pair, ...]
    reference: torch.Tensor
    rewards: torch.Tensor | None

    @property
    def wins(self) -> tuple[int, ...]:
        """In how many pairs each response is the chosen one, R numbers."""
        chosen = [pair.chosen for pair in self.pairs]
        return tuple(chosen.count(index) for index in range(len(self.encoded.responses)))


def response_names(record: RankedResponse) -> list[str]:
    """What messages call the ranked responses of a record."""
    place = ""
    if record.location.file is not None:
        place = f"{record.location.file}, row {record.location.row}: "
    return [
        f"{place}record {record.record_id!r}, response {response.response_id!r}"
        for response in record.responses
    ]


@contextmanager
def located(record: RankedResponse) -> Iterator[None]:
    """Name the record's file and row in errors about its data.

    Raises:
        DataError: As in the block, with its place.
    """
    try:
        yield
    except DataError as error:
        if error.file is not None:
            raise
        place = record.location
        raise DataError(error.reason, file=place.file, row=place.row, field=error.field) from error


def used_responses(record: RankedResponse, mode: PairMode) -> tuple[list[int], tuple[Pair, ...]]:
    """The responses of a record that are in a pair, and the pairs as indices into those."""
    pairs = form_pairs(record.ranks, mode)
    used = sorted({index for pair in pairs for index in pair})
    place = {index: position for position, index in enumerate(used)}
    return used, tuple(Pair(place[pair.chosen], place[pair.rejected]) for pair in pairs)


class QueryBuilder:
    """Builds queries from records.

    Args:
        adapter: Tokenises and processes media.
        media_root: Folder that relative media URIs start from.
        mode: Which pairs to form.
        reference: Log-probabilities of the reference policy.
        rewards: Scores of a reward model; None where the objective needs none.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        adapter: VLMAdapter,
        *,
        media_root: str,
        mode: PairMode,
        reference: Sidecar,
        rewards: Sidecar | None = None,
        storage: StorageOptions | None = None,
    ) -> None:
        self._adapter = adapter
        self._media_root = media_root
        self._mode = mode
        self._reference = reference
        self._rewards = rewards
        self._storage = storage

    def build(self, record: RankedResponse) -> Query:
        """Load media, tokenise, and look up what the side-cars know of the responses.

        Responses that are in no pair are left out: nothing is learnt from them.

        Raises:
            DataError: A media file cannot be read.
            SidecarError: A side-car lacks a response.
        """
        used, pairs = used_responses(record, self._mode)
        texts = [record.responses[index].text for index in used]
        with located(record):
            media = load_media(record, self._media_root, storage=self._storage)
            encoded = self._adapter.encode(record.query.text, media, texts)
        return Query(
            record_id=record.record_id,
            encoded=encoded,
            pairs=pairs,
            reference=self._look_up(self._reference, record)[used],
            rewards=(None if self._rewards is None else self._look_up(self._rewards, record)[used]),
        )

    def _look_up(self, sidecar: Sidecar, record: RankedResponse) -> torch.Tensor:
        values = sidecar.lookup(record_keys(record), names=response_names(record))
        return torch.from_numpy(values)

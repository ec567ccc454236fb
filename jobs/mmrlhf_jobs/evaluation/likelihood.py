"""How likely a policy finds the responses of ranked records, kept one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import check_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.records import RankedResponse, RowLocation
from mmrlhf_jobs.data.row_faults import RowFaults, repeated_record
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.preferring import Likely
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.queries.preference import QueryEncoder, used_responses
from mmrlhf_jobs.scores.keys import record_keys
from mmrlhf_jobs.storage.journal import Journal
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Likelihood"]


class Likelihood:
    """Log-probabilities of responses under a policy.

    Args:
        loaded: The policy, without gradients.
        digest: Digest of its files.
        folders: Where media may be.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        digest: str,
        folders: MediaFolders,
        storage: StorageOptions | None = None,
    ) -> None:
        self._folders, self._storage = folders, storage
        adapter = loaded.adapter
        self._model = ResponseModel(
            loaded.model, adapter, shared_prefix=adapter.supports_shared_prefix
        )
        self._encoder = QueryEncoder(
            adapter,
            max_tokens=loaded.max_tokens,
            media_root=folders,
            mode="all",
            storage=storage,
        )
        dtype = str(next(loaded.model.parameters()).dtype)
        self._identity = [digest, adapter.template_digest(), adapter.image_settings(), dtype]

    def usable(self, source: Source, faults: RowFaults) -> list[RankedResponse]:
        """The records that the policy can read; the others are noted, before anything is computed.

        Args:
            source: All of them.
            faults: Takes those that it cannot.
        """
        found: list[RankedResponse] = []
        seen: dict[str, RowLocation] = {}
        for record in stream_records(source, faults):
            place = record.location
            first = seen.setdefault(record.record_id, place)
            try:
                if first is not place:
                    raise repeated_record(place, first)
                check_media(record, self._folders, storage=self._storage)
                if record.obstacle is None:
                    self._encoder.check(record)
            except DataError as error:
                faults.add(error, "unusable")
                continue
            found.append(record)
        return found

    def of(
        self,
        records: Sequence[RankedResponse],
        journal: Journal,
        *,
        batch_size: int,
        count: Callable[[int, int], None],
    ) -> Iterator[Likely]:
        """Compute what is not computed yet; then all records with their values, in their order.

        Args:
            records: Records that it can read.
            journal: Keeps values.
            batch_size: Records that go through the policy at once.
            count: Told how many are done, and of how many.
        """
        ranked = [record for record in records if record.obstacle is None]
        missing = [record for record in ranked if journal.get(self._key(record)) is None]
        done = len(ranked) - len(missing)
        count(done, len(ranked))
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            for record, sums in zip(batch, self._compute(batch), strict=True):
                journal.put(self._key(record), {"logProbs": sums})
            done += len(batch)
            count(done, len(ranked))
        for record in records:
            yield record, self._values(record, journal)

    def _values(self, record: RankedResponse, journal: Journal) -> list[float | None]:
        values: list[float | None] = [None] * len(record.responses)
        if record.obstacle is None:
            kept = journal.get(self._key(record))
            assert kept is not None, "it was computed"
            used, _ = used_responses(record, self._encoder.mode)
            for index, value in zip(used, kept["logProbs"], strict=True):
                values[index] = value
        return values

    @torch.no_grad()
    def _compute(self, batch: Sequence[RankedResponse]) -> Iterator[list[float | None]]:
        groups = [self._encoder.encode(record) for record in batch]
        sums = self._model(groups).sums.double().cpu()
        for part in sums.split([len(group.responses) for group in groups]):
            # JSON knows no other numbers; without one nothing is judged.
            yield [value if math.isfinite(value) else None for value in part.tolist()]

    def _key(self, record: RankedResponse) -> str:
        keys = [key.hex() for key in record_keys(record)]
        return digest_of("likelihood", self._identity, keys, list(record.ranks)).hex()

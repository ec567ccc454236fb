"""Queries: records made ready for the model and the objective."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.pairs import Pair, PairMode, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.scores.keys import record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = [
    "Query",
    "QueryBuilder",
    "QueryEncoder",
    "located",
    "record_name",
    "response_names",
    "used_responses",
]


@dataclass(frozen=True)
class Query:
    """One query with the responses that occur in its pairs.

    Attributes:
        name: What messages call it: file, row and record.
        encoded: Token ids and media, R responses.
        pairs: Indices (chosen, rejected) into the responses, K pairs.
        reference: Log-probability of each response under the reference policy, float64[R], nats.
        rewards: Score of each response, float64[R], or None without a reward side-car.
    """

    name: str
    encoded: EncodedGroup
    pairs: tuple[Pair, ...]
    reference: torch.Tensor
    rewards: torch.Tensor | None

    @property
    def wins(self) -> tuple[int, ...]:
        """In how many pairs each response is the chosen one, R numbers."""
        chosen = [pair.chosen for pair in self.pairs]
        return tuple(chosen.count(index) for index in range(len(self.encoded.responses)))


def record_name(record: RankedResponse) -> str:
    """What messages call a record: its file and row, as far as they are known, and its id."""
    place = record.location
    name = f"record {record.record_id!r}"
    return name if place.file is None else f"{place.file}, row {place.row}: {name}"


def response_names(record: RankedResponse) -> list[str]:
    """What messages call the ranked responses of a record."""
    name = record_name(record)
    return [f"{name}, response {response.response_id!r}" for response in record.responses]


@contextmanager
def located(record: RankedResponse, used: Sequence[int]) -> Iterator[None]:
    """Name the record's file and row in errors about its data, and the field as it stands there.

    Args:
        record: The record.
        used: Places in it of the responses that the block numbers from 0.

    Raises:
        DataError: As in the block, with its place.
    """
    try:
        yield
    except DataError as error:
        if error.file is not None:
            raise
        place, field = record.location, error.field
        if field is not None:
            field = re.sub(r"(?<=^responses\[)\d+", lambda found: str(used[int(found[0])]), field)
        raise DataError(
            error.reason, file=place.file, row=place.row, field=field, fault=error.fault
        ) from error


def used_responses(record: RankedResponse, mode: PairMode) -> tuple[list[int], tuple[Pair, ...]]:
    """The responses of a record that are in a pair, and the pairs as indices into those."""
    pairs = form_pairs(record.ranks, mode)
    used = sorted({index for pair in pairs for index in pair})
    place = {index: position for position, index in enumerate(used)}
    return used, tuple(Pair(place[pair.chosen], place[pair.rejected]) for pair in pairs)


class QueryEncoder:
    """Turns the responses of records into token ids, those that are in no pair left out.

    Args:
        adapter: Tokenises and processes media.
        max_tokens: Longest sequence that the model takes; longer ones are refused.
        media_root: Folder that relative media URIs start from, or all that media may be in.
        mode: Which pairs to form.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        adapter: VLMAdapter,
        *,
        max_tokens: int,
        media_root: str | MediaFolders,
        mode: PairMode,
        storage: StorageOptions | None = None,
    ) -> None:
        self._adapter = adapter
        self._max_tokens = max_tokens
        self._media_root = media_root
        self._storage = storage
        self.mode = mode

    def encode(self, record: RankedResponse) -> EncodedGroup:
        """Load media and tokenise.

        Raises:
            DataError: A media file cannot be read, a text holds a special token, or a sequence is
                too long.
        """
        used, _ = used_responses(record, self.mode)
        with located(record, used):
            media = load_media(record, self._media_root, storage=self._storage)
            texts = [record.responses[index].text for index in used]
            group = self._adapter.encode(record.asked, media, texts)
            for index, response in enumerate(group.responses):
                length = len(group.prompt_ids) + len(response)
                if length > self._max_tokens:
                    raise DataError(
                        f"{length} tokens with media, question and response, but the model takes "
                        f"{self._max_tokens}, and nothing is cut off: shorten the row or leave it "
                        "out",
                        field=f"responses[{index}].text",
                        fault="too-long",
                    )
        return group

    def check(self, record: RankedResponse) -> None:
        """Refuse what `encode` would refuse; media are opened only if their sizes decide.

        Raises:
            DataError: As `encode`.
        """
        used, _ = used_responses(record, self.mode)
        with located(record, used):
            longest = self._adapter.longest_prompt(record.asked, record.media)
            lengths = [
                len(
                    self._adapter.chat.response_ids(
                        record.responses[index].text, f"responses[{place}].text"
                    )
                )
                for place, index in enumerate(used)
            ]
        if longest + max(lengths) > self._max_tokens:
            self.encode(record)


class QueryBuilder:
    """Builds queries from records.

    Args:
        encoder: Loads media and tokenises.
        reference: Log-probabilities of the reference policy.
        rewards: Scores of a reward model; None where the objective needs none.
    """

    def __init__(
        self, encoder: QueryEncoder, *, reference: Sidecar, rewards: Sidecar | None = None
    ) -> None:
        self._encoder = encoder
        self._reference = reference
        self._rewards = rewards

    def build(self, record: RankedResponse) -> Query:
        """Encode, and look up what the side-cars know of the responses.

        Responses that are in no pair are left out: nothing is learnt from them.

        Raises:
            DataError: As `QueryEncoder.encode`.
            SidecarError: A side-car lacks a response.
        """
        used, pairs = used_responses(record, self._encoder.mode)
        return Query(
            name=record_name(record),
            encoded=self._encoder.encode(record),
            pairs=pairs,
            reference=self._look_up(self._reference, record)[used],
            rewards=(None if self._rewards is None else self._look_up(self._rewards, record)[used]),
        )

    def _look_up(self, sidecar: Sidecar, record: RankedResponse) -> torch.Tensor:
        values = sidecar.lookup(record_keys(record), names=response_names(record))
        return torch.from_numpy(values)

"""The largest micro-batch of a job's data, by its real texts and pictures."""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from mmrlhf_api import KINDS, TrainJob
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import OpenDataset

__all__ = ["Batch", "Encoding", "QuerySizes", "encoding_of", "measure_queries"]


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once.

    Attributes:
        tokens: Tokens of its rows.
        patches: Patches of images that the vision tower sees.
    """

    tokens: int
    patches: int = 0


@dataclass(frozen=True)
class QuerySizes:
    """Sizes of the queries that were looked at.

    Attributes:
        sizes: Tokens and patches of each.
    """

    sizes: tuple[tuple[int, int], ...]

    def largest(self, queries: int) -> Batch:
        """The micro-batch of so many of the largest; of copies of it where only one is known."""
        known = self.sizes * queries if len(self.sizes) == 1 else self.sizes
        largest = heapq.nlargest(queries, known)
        return Batch(sum(tokens for tokens, _ in largest), sum(patches for _, patches in largest))


@dataclass(frozen=True)
class Encoding:
    """How a job makes rows of its records.

    Attributes:
        encode: Makes the rows of a record.
        shared_prefix: Whether responses share a prompt, as the job asks for it.
    """

    encode: Callable[[RankedResponse], EncodedGroup]
    shared_prefix: str = "auto"


def encoding_of(
    job: TrainJob, skeleton: LoadedModel, dataset: OpenDataset, options: StorageOptions | None
) -> Encoding:
    """What a job trains on; the module that runs its kind says it.

    Args:
        job: The job.
        skeleton: Its model; weights may be missing.
        dataset: Its records.
        options: How to reach an object store.
    """
    module = importlib.import_module(KINDS[job.kind].runner.partition(":")[0])
    found: Encoding = module.encoding(job, skeleton, dataset, options)
    return found


def measure_queries(
    groups: Iterable[EncodedGroup], *, shared: bool, patch: int, most: int
) -> QuerySizes:
    """Sizes of queries.

    Args:
        groups: Queries.
        shared: Whether responses share the prompt in one row.
        patch: Side of a patch in pixels; 0 counts none.
        most: Queries to look at.
    """
    return QuerySizes(
        tuple(
            (_tokens(group, shared=shared), _patches(group, patch))
            for group in islice(groups, most)
        )
    )


def _tokens(group: EncodedGroup, *, shared: bool) -> int:
    """Tokens that a query takes through the model; without sharing, each response has a prompt."""
    more = 0 if shared else len(group.responses) - 1
    return group.tokens + more * len(group.prompt_ids)


def _patches(group: EncodedGroup, patch: int) -> int:
    if not patch:
        return 0
    pixels = (value.numel() for name, value in group.media_inputs.items() if "pixel_values" in name)
    return sum(count // (3 * patch * patch) for count in pixels)

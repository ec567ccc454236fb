"""One pass over a data set that gives every response a value, shared among the processes.

Work that is done stays done: every batch becomes a part of the side-car as soon as it is computed,
and a later run, by as many processes or others, computes what is missing. The batches of a process
follow from the data and the number of processes alone, so a run that was killed and goes on
computes the same batches, and the same bits, as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import uuid4

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interrupted, Interruption
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.parts import SidecarParts, Valued
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Item", "Made", "fill_parts", "make_sidecar"]

Item: TypeAlias = tuple[RankedResponse, tuple[int, ...]]
"""A record and the indices of its responses that need a value."""


@dataclass(frozen=True)
class _Share:
    """What one process computes."""

    dataset: RankedDataset
    rank: int
    world_size: int
    queries_per_batch: int

    def batches(self) -> Iterator[list[Item]]:
        """Every response of every query of this process, once, whatever is computed already.

        A query belongs to the process that its content names, so that a query in two records is
        computed by one process, once.
        """
        seen: set[bytes] = set()
        batch: list[Item] = []
        for record in self.dataset.share():
            query = digest_of("share", as_json(record.asked), list(record.media_sha256s))
            if int.from_bytes(query[:8], "little") % self.world_size != self.rank:
                continue
            keys = record_keys(record)
            wanted = tuple(index for index, key in enumerate(keys) if key not in seen)
            seen.update(keys)
            if wanted:
                batch.append((record, wanted))
            if len(batch) == self.queries_per_batch:
                yield batch
                batch = []
        if batch:
            yield batch


def fill_parts(
    parts: SidecarParts,
    dataset: RankedDataset,
    compute: Callable[[Sequence[Item]], Sequence[Valued]],
    *,
    queries_per_batch: int,
    runtime: Runtime,
    interruption: Interruption,
    together: bool = False,
    count: Callable[[int], None] = lambda done: None,  # noqa: ARG005
) -> int:
    """Compute what is missing; return how many responses that was, over all processes.

    Args:
        parts: Where the values go.
        dataset: Records.
        compute: Values of some responses, in one or more forward passes of this process alone.
        queries_per_batch: Records of a batch.
        runtime: Process group.
        interruption: Whether this process was asked to stop.
        together: Whether the processes need each other to compute: where one has something to do,
            all compute, be it nothing.
        count: Told after each round how many records all processes are done with.

    Raises:
        Interrupted: A process was asked to stop; the batches that are done stay.
        SidecarError: A part belongs to something else, or a value is not finite.
    """
    done = runtime.on_main(parts.keys)
    batches = _Share(dataset, runtime.rank, runtime.world_size, queries_per_batch).batches()
    computed = own = 0
    while True:
        batch = next(batches, None)
        missing = [] if batch is None else _missing(batch, done)
        idle, asked, everywhere, busy = runtime.sum(
            [float(batch is None), float(interruption.requested), own, float(bool(missing))]
        )
        count(int(everywhere))
        if asked:
            raise Interrupted(
                "stopped as asked while values of responses were computed; those that are done are "
                "kept, run the same again to go on"
            )
        if idle == runtime.world_size:
            break
        if missing or (together and busy):
            values = compute(missing)
            computed += len(values)
            if missing:
                parts.write(values)
        own += len(batch or ())
    return int(runtime.sum([computed])[0])


@dataclass(frozen=True)
class Made:
    """A side-car that is there now.

    Attributes:
        responses: Responses in it.
        computed: How many of them this run has computed, over all processes.
    """

    responses: int
    computed: int


def make_sidecar(
    out: str,
    identity: SidecarIdentity,
    dataset: RankedDataset,
    compute: Callable[[Sequence[Item]], Sequence[Valued]],
    *,
    queries_per_batch: int,
    runtime: Runtime,
    interruption: Interruption,
    storage: StorageOptions | None,
    together: bool = False,
    count: Callable[[int], None] = lambda done: None,  # noqa: ARG005
) -> Made:
    """Make a side-car at a URI of its own; parts lie in ``<out>.parts`` until all are there.

    Values that an earlier run has left in the parts or in the side-car itself are kept. Two runs at
    the same time have folders of their own in the parts: both end well, and the values of the one
    that is first stay. Other arguments and errors are those of `fill_parts`.
    """
    attempt = runtime.on_main(lambda: uuid4().hex[:16])
    parts = SidecarParts(f"{out}.parts", identity, attempt=attempt, whole=out, storage=storage)
    computed = fill_parts(
        parts,
        dataset,
        compute,
        queries_per_batch=queries_per_batch,
        runtime=runtime,
        interruption=interruption,
        together=together,
        count=count,
    )
    responses = runtime.on_main(lambda: parts.merge(out))
    runtime.on_main(parts.remove)
    return Made(responses, computed)


def _missing(batch: Sequence[Item], done: set[bytes]) -> list[Item]:
    left = []
    for record, wanted in batch:
        keys = record_keys(record)
        absent = tuple(index for index in wanted if keys[index] not in done)
        if absent:
            left.append((record, absent))
    return left

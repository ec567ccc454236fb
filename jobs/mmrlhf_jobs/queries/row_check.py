"""A look at every row before the first step: what cannot be used is found at once, not by an hour.

Whether a sequence fits the model depends on its tokenizer, so the validation of the data set, which
knows no model, cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.process.gang import Runtime

__all__ = ["check_rows"]


def check_rows(
    dataset: RankedDataset, check: Callable[[RankedResponse], None], *, runtime: Runtime
) -> None:
    """Check all records, shared among the processes.

    Args:
        dataset: Records.
        check: Raises DataError on a record that cannot be used.
        runtime: Process group.

    Raises:
        DataError: Some cannot; on every process, with their number and the first of them.
    """
    own: list[tuple[str, int, str]] = []
    for record in dataset.share(rank=runtime.rank, world_size=runtime.world_size):
        try:
            check(record)
        except DataError as error:
            own.append((error.file or "", error.row or 0, str(error)))
    found = sorted(row for part in runtime.gather(own) for row in part)
    if not found:
        return
    if len(found) == 1:
        raise DataError(found[0][2])
    shown = "; ".join(first_few([text for _, _, text in found]))
    raise DataError(f"{len(found)} rows cannot be used: {shown}")

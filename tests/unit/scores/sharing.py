"""Jobs that share a cache of side-cars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.scores.cache import SidecarCache
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.parts import Valued
from mmrlhf_jobs.scores.passes import Item, Made, make_sidecar
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions
from tests.patience import PATIENCE
from tests.unit.data.builders import make_record

__all__ = ["KEYS", "Job", "make_together"]

IDENTITY = SidecarIdentity(kind="reward", template="t", model="m", image_settings="i")
RECORDS = [
    make_record(f"r{number}", query={"text": f"which digit is it, of {number}?"})
    for number in range(6)
]
KEYS = [key for record in RECORDS for key in record_keys(record)]


class Few:
    """What a cache asks of a data set."""

    digest = "data"
    index = SimpleNamespace(selection_digest="all")

    def share(self) -> Iterator[RankedResponse]:
        yield from RECORDS


DATASET: Any = Few()


class Job:
    """A job over artifacts that it shares, whose values are its own as on real devices.

    Args:
        store: The artifacts.
        folder: For its scratch.
        name: Of the job.
        attempt: Name of the attempt.
        value: What its values begin with, in each batch.
    """

    def __init__(
        self,
        store: ArtifactStore,
        folder: Path,
        name: str,
        *,
        attempt: str = "1",
        value: float = 0.0,
        storage: StorageOptions | None = None,
    ) -> None:
        self.interruption = Interruption()
        self.computed: list[bytes] = []
        self.told: list[str] = []
        self.meet: Callable[[], object] = lambda: None
        self._value = value
        self._cache = SidecarCache(
            store,
            scratch=folder / f"scratch-{name}-{attempt}",
            runtime=Runtime(0, 1, torch.device("cpu")),
            interruption=self.interruption,
            storage=storage,
            tell=self.told.append,
            run=f"default/{name}/uid",
            attempt=attempt,
        )

    def find(self) -> Sidecar | None:
        return self._cache.find(IDENTITY, DATASET)

    def ask_to_stop(self) -> None:
        self.interruption.requested = True

    def make(self) -> Sidecar:
        return self._cache.make(IDENTITY, DATASET, self._compute, queries_per_batch=2)

    def score(self, out: Path) -> Made:
        """Make a side-car at a place of its own, as the step ``score`` does."""
        return make_sidecar(
            str(out),
            IDENTITY,
            DATASET,
            self._compute,
            queries_per_batch=2,
            runtime=Runtime(0, 1, torch.device("cpu")),
            interruption=self.interruption,
            storage=None,
        )

    def _compute(self, items: Sequence[Item]) -> list[Valued]:
        self.meet()
        found: list[Valued] = []
        for record, places in items:
            for place in places:
                key = record_keys(record)[place]
                self.computed.append(key)
                name = record.responses[place].response_id
                found.append(Valued(key, self._value + len(found), record.record_id, name))
        return found


def make_together(
    jobs: Sequence[Job], monkeypatch: pytest.MonkeyPatch
) -> list[Sidecar | BaseException]:
    """Let jobs make a side-car at the same time; return what each has, or its error.

    They meet before each batch, and again when each has seen that nobody was faster.
    """
    meeting = threading.Barrier(len(jobs), timeout=120 * PATIENCE)
    publish = ArtifactStore.publish_content

    def together(self: ArtifactStore, folder: Path, key: str) -> str:
        meeting.wait()
        return publish(self, folder, key)

    def make(job: Job) -> Sidecar | BaseException:
        try:
            return job.make()
        except BaseException as error:  # noqa: BLE001 - returned
            meeting.abort()
            return error

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "publish_content", together)
        for job in jobs:
            job.meet = meeting.wait
        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(make, jobs))

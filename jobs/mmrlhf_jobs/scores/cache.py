"""Side-cars that are made once for a data set and kept for every later run of the same inputs.

Any number of jobs may share a cache. Each makes a side-car in a place of its own and keeps it by
its content; who finds that another was faster takes what is there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.errors import DamagedError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.scores.parts import SidecarParts, Valued
from mmrlhf_jobs.scores.passes import Item, fill_parts
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["SidecarCache"]

FILE: Final = "{kind}.parquet"


@dataclass(frozen=True)
class SidecarCache:
    """The cache in an artifact store, shared by all runs in it.

    Attributes:
        store: Artifacts.
        scratch: Local folder of this process.
        runtime: Process group.
        interruption: Whether this process was asked to stop.
        storage: How to reach an object store.
        tell: Takes a sentence about what is made anew.
        run: Key of the run, whose later attempts go on with the parts that this one leaves.
        attempt: Name of this attempt.
    """

    store: ArtifactStore
    scratch: Path
    runtime: Runtime
    interruption: Interruption
    storage: StorageOptions | None
    tell: Callable[[str], None]
    run: str
    attempt: str

    def find(self, identity: SidecarIdentity, dataset: RankedDataset) -> Sidecar | None:
        """The side-car of a data set, if it was made before; every process must call it.

        One that is damaged is told and removed, as it can be made anew.
        """
        key = _key(identity, dataset)
        while True:
            place = self.runtime.on_main(lambda: self._published(key))
            if place is None:
                return None
            faults = self.runtime.gather(self._fetch(identity, place))
            fault = next((fault for fault in faults if fault), "")
            if not fault:
                # Of an attempt that stopped before another job was done.
                self.runtime.on_main(self._parts(identity, key).drop)
                return self._open(identity, place)
            self.tell(f"cached {identity.kind} values cannot be used and are made anew: {fault}")
            self.runtime.on_main(partial(self.store.remove, place))

    def make(
        self,
        identity: SidecarIdentity,
        dataset: RankedDataset,
        compute: Callable[[Sequence[Item]], Sequence[Valued]],
        *,
        queries_per_batch: int,
        together: bool = False,
    ) -> Sidecar:
        """Make the side-car of a data set; arguments and errors as in `fill_parts`."""
        key = _key(identity, dataset)
        parts = self._parts(identity, key)
        fill_parts(
            parts,
            dataset,
            compute,
            queries_per_batch=queries_per_batch,
            runtime=self.runtime,
            interruption=self.interruption,
            together=together,
        )

        def publish() -> str:
            whole = self.scratch / "sidecar-whole"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir(parents=True)
            parts.merge(str(whole / FILE.format(kind=identity.kind)))
            found = self._published(key) or self.store.publish_content(whole, key)
            parts.remove()
            shutil.rmtree(whole)
            return found

        return self._open(identity, self.runtime.on_main(publish))

    def _parts(self, identity: SidecarIdentity, key: str) -> SidecarParts:
        """Parts of this run, in a folder of its own."""
        run = hashlib.sha256(self.run.encode()).hexdigest()[:12]
        uri = f"{self.store.uri}/{key}.{run}.parts"
        return SidecarParts(uri, identity, attempt=self.attempt, storage=self.storage)

    def _published(self, key: str) -> str | None:
        """The first side-car of a key; those of older versions lie at the key itself."""
        return next(iter(self.store.list_committed(key)), None)

    def _fetch(self, identity: SidecarIdentity, place: str) -> str:
        """Fetch a side-car; say what is wrong with it."""
        try:
            self._file(identity, place)
        except DamagedError as error:
            return str(error)
        return ""

    def _open(self, identity: SidecarIdentity, place: str) -> Sidecar:
        return Sidecar.open(str(self._file(identity, place)), identity)

    def _file(self, identity: SidecarIdentity, place: str) -> Path:
        """The local copy of a side-car, fetched if it is not here yet."""
        folder = self.scratch / "sidecars" / place.rpartition("/")[2]
        file = folder / FILE.format(kind=identity.kind)
        if not file.is_file():
            self.store.fetch(place, folder)
        return file


def _key(identity: SidecarIdentity, dataset: RankedDataset) -> str:
    content = json.dumps(
        [asdict(identity), dataset.digest, dataset.index.selection_digest], sort_keys=True
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return RunLayout.cache(identity.kind, digest)

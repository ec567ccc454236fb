"""Side-cars that are made once for a data set and kept for every later run of the same inputs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
    """

    store: ArtifactStore
    scratch: Path
    runtime: Runtime
    interruption: Interruption
    storage: StorageOptions | None
    tell: Callable[[str], None]

    def find(self, identity: SidecarIdentity, dataset: RankedDataset) -> Sidecar | None:
        """The side-car of a data set, if it was made before; every process must call it.

        One that is damaged is told and removed, as it can be made anew.
        """
        key = _key(identity, dataset)
        there, fault = self.runtime.on_main(lambda: self._look(key))
        if not there:
            return None
        faults = [fault, *self.runtime.gather("" if fault else self._fetch(identity, key))]
        if fault := next((fault for fault in faults if fault), ""):
            self.tell(f"cached {identity.kind} values cannot be used and are made anew: {fault}")
            self.runtime.on_main(lambda: self.store.remove(key))
            return None
        return self._open(identity, key)

    def make(
        self,
        identity: SidecarIdentity,
        dataset: RankedDataset,
        compute: Callable[[Sequence[Item]], Sequence[Valued]],
        *,
        queries_per_batch: int,
    ) -> Sidecar:
        """Make the side-car of a data set; arguments and errors as in `fill_parts`."""
        key = _key(identity, dataset)
        parts = SidecarParts(f"{self.store.uri}/{key}.parts", identity, storage=self.storage)
        fill_parts(
            parts,
            dataset,
            compute,
            queries_per_batch=queries_per_batch,
            runtime=self.runtime,
            interruption=self.interruption,
        )

        def publish() -> None:
            whole = self.scratch / "sidecar-whole"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir(parents=True)
            parts.merge(str(whole / FILE.format(kind=identity.kind)))
            self.store.publish(whole, key)
            parts.remove()
            shutil.rmtree(whole)

        self.runtime.on_main(publish)
        return self._open(identity, key)

    def _look(self, key: str) -> tuple[bool, str]:
        """Whether something is at a key, and what is wrong with it."""
        try:
            return self.store.is_committed(key), ""
        except DamagedError as error:
            return True, str(error)

    def _fetch(self, identity: SidecarIdentity, key: str) -> str:
        """Fetch what is at a key; say what is wrong with it."""
        try:
            if not self._file(identity, key).is_file():
                self.store.fetch(key, self._file(identity, key).parent)
        except DamagedError as error:
            return str(error)
        return ""

    def _open(self, identity: SidecarIdentity, key: str) -> Sidecar:
        file = self._file(identity, key)
        if not file.is_file():
            self.store.fetch(key, file.parent)
        return Sidecar.open(str(file), identity)

    def _file(self, identity: SidecarIdentity, key: str) -> Path:
        folder = self.scratch / "sidecars" / key.rpartition("/")[2]
        return folder / FILE.format(kind=identity.kind)


def _key(identity: SidecarIdentity, dataset: RankedDataset) -> str:
    content = json.dumps(
        [asdict(identity), dataset.digest, dataset.index.selection_digest], sort_keys=True
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return RunLayout.cache(identity.kind, digest)

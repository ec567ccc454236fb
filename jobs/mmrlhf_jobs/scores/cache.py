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
    """

    store: ArtifactStore
    scratch: Path
    runtime: Runtime
    interruption: Interruption
    storage: StorageOptions | None

    def find(self, identity: SidecarIdentity, dataset: RankedDataset) -> Sidecar | None:
        """The side-car of a data set, if it was made before."""
        key = _key(identity, dataset)
        if not self.runtime.on_main(lambda: self.store.is_committed(key)):
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

    def _open(self, identity: SidecarIdentity, key: str) -> Sidecar:
        local = self.scratch / "sidecars" / key.rpartition("/")[2]
        file = local / FILE.format(kind=identity.kind)
        if not file.is_file():
            self.store.fetch(key, local)
        return Sidecar.open(str(file), identity)


def _key(identity: SidecarIdentity, dataset: RankedDataset) -> str:
    content = json.dumps(
        [asdict(identity), dataset.digest, dataset.index.selection_digest], sort_keys=True
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:32]
    return RunLayout.cache(identity.kind, digest)

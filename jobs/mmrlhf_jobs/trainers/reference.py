"""Reference log-probabilities: once for each unique response, kept in a side-car.

DPO needs ``log pi_ref(y|x)`` (paper Eq. 4). The reference policy is the model before training, so
one pass before the first step serves all epochs, and every later run of the same model, template
and data.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.forward.scoring import ResponseScorer
from mmrlhf_jobs.reporting.progress import Progress
from mmrlhf_jobs.sidecars.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.sidecars.sidecar import Sidecar
from mmrlhf_jobs.sidecars.writer import SidecarWriter, merge
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.trainers.interruption import Interrupted, Interruption
from mmrlhf_jobs.trainers.layout import RunLayout
from mmrlhf_jobs.trainers.runtime import Runtime

__all__ = ["ReferencePass"]

_FILE = "reference.parquet"
_TOLERANCE = 1e-2
"""Relative difference allowed between two values of one response that is in two records: batches of
another shape round differently, in bfloat16 by up to half a percent."""


class ReferencePass:
    """Makes, or finds, the reference log-probabilities of data sets.

    Args:
        store: Artifacts; the cache is shared by all runs in it.
        scorer: The model before training.
        identity: Model, template and image settings that the values belong to.
        scratch: Local folder of this process.
        runtime: Process group.
        queries_per_batch: Queries that go through the model at once.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        store: ArtifactStore,
        *,
        scorer: ResponseScorer,
        identity: SidecarIdentity,
        scratch: Path,
        runtime: Runtime,
        queries_per_batch: int,
        storage: StorageOptions | None,
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._identity = identity
        self._scratch = scratch
        self._runtime = runtime
        self._queries_per_batch = queries_per_batch
        self._storage = storage

    def sidecar(
        self,
        dataset: RankedDataset,
        *,
        given: str | None,
        progress: Progress,
        interruption: Interruption,
    ) -> Sidecar:
        """The side-car of a data set: the user's, from the cache, or computed now.

        Args:
            dataset: Records.
            given: Side-car of the user, used instead of computing.
            progress: Where live events go.
            interruption: Whether this process was asked to stop.

        Raises:
            Interrupted: The job was asked to stop; the pass starts over next time.
            SidecarError: The side-car of the user belongs to another model or template.
        """
        if given is not None:
            return Sidecar.open(given, self._identity, storage=self._storage)
        key = RunLayout.reference_cache(self._cache_digest(dataset))
        if not self._runtime.on_main(lambda: self._store.is_committed(key)):
            progress.emit(
                "phase",
                phase="reference",
                message=f"reference log-probabilities of {dataset.num_records} queries",
            )
            self._compute(dataset, key, interruption)
        local = self._scratch / "reference" / key.rpartition("/")[2]
        if not (local / _FILE).is_file():
            self._store.fetch(key, local)
        return Sidecar.open(str(local / _FILE), self._identity)

    def _cache_digest(self, dataset: RankedDataset) -> str:
        content = json.dumps(
            [asdict(self._identity), dataset.digest, dataset.index.selection_digest],
            sort_keys=True,
        )
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def _compute(self, dataset: RankedDataset, key: str, interruption: Interruption) -> None:
        runtime = self._runtime
        parts = f"{key}.parts"
        local = self._scratch / "reference-part"
        shutil.rmtree(local, ignore_errors=True)
        local.mkdir(parents=True)
        with SidecarWriter(str(local / _FILE), self._identity) as writer:
            for records in dataset.batches(
                seed=0,
                epoch=0,
                start=0,
                batch_size=self._queries_per_batch * runtime.world_size,
                rank=runtime.rank,
                world_size=runtime.world_size,
            ):
                if runtime.any(interruption.requested):
                    raise Interrupted("stopped during the reference pass; nothing to resume yet")
                for record, values in zip(records, self._score(dataset, records), strict=True):
                    writer.write(
                        record_keys(record),
                        values.tolist(),
                        record_id=record.record_id,
                        response_ids=[response.response_id for response in record.responses],
                    )
        self._store.publish(local, f"{parts}/rank-{runtime.rank}")
        runtime.wait()
        if runtime.is_main:
            self._join(parts, key)
        runtime.wait()

    @torch.no_grad()
    def _score(
        self, dataset: RankedDataset, records: Sequence[RankedResponse]
    ) -> Sequence[torch.Tensor]:
        """Log-probabilities of the ranked responses of each record, float64[R]."""
        if not records:
            return ()
        groups = [
            self._scorer.adapter.encode(
                record.query.text,
                load_media(record, dataset.media_root, storage=self._storage),
                [response.text for response in record.responses],
            )
            for record in records
        ]
        sums = self._scorer(groups).sums.double().cpu()
        pieces: Sequence[torch.Tensor] = sums.split([len(group.responses) for group in groups])
        return pieces

    def _join(self, parts: str, key: str) -> None:
        """Merge the parts of all ranks into one side-car and publish it (rank 0)."""
        joined = self._scratch / "reference-joined"
        shutil.rmtree(joined, ignore_errors=True)
        sources = []
        for rank in range(self._runtime.world_size):
            source = joined / f"rank-{rank}"
            self._store.fetch(f"{parts}/rank-{rank}", source)
            sources.append(str(source / _FILE))
        whole = joined / "whole"
        whole.mkdir()
        merge(sources, str(whole / _FILE), tolerance=_TOLERANCE)
        self._store.publish(whole, key)
        self._store.remove(parts)
        shutil.rmtree(joined)

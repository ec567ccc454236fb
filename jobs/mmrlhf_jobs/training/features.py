"""What a job keeps of the features that frozen vision towers make: limits, place and figures."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmrlhf_api import Resources
from mmrlhf_api.quantities import parse_quantity
from mmrlhf_jobs.features.disk import FeatureFolder
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.frozen import keep_features
from mmrlhf_jobs.process.context import TrainingContext

__all__ = ["JobFeatures"]

_PART_OF_MEMORY: Final = 16
_DISK: Final = 8 * 2**30
_PART_OF_FREE_DISK: Final = 2


class JobFeatures:
    """Features that the processes of a job keep while it runs.

    Memory is each process's own; the folder lies in the local files of the first process of a node,
    is shared by all of the node, and goes with it.

    Args:
        resources: Of the job, with the limits.
        context: The world around it; every process makes this together.
    """

    def __init__(self, resources: Resources, context: TrainingContext) -> None:
        self._context = context
        self._reasons: dict[str, str] = {}
        runtime = context.runtime
        node = f"{socket.gethostname()} {os.environ.get('GROUP_RANK', '0')}"
        places = runtime.gather([node, str(context.scratch)])
        beside = [place for name, place in places if name == node]
        self._owns_folder = beside[0] == str(context.scratch)
        self._store: FeatureStore | None = None
        self._folder: FeatureFolder | None = None
        if resources.feature_cache == "off":
            return
        memory = resources.feature_memory
        amount = parse_quantity(memory or resources.memory) / (1 if memory else _PART_OF_MEMORY)
        self._folder = self._open_folder(resources, Path(beside[0]) / "features")
        self._store = FeatureStore(
            memory=int(amount) // len(beside), folder=self._folder, tell=context.tell
        )

    def keep(self, loaded: LoadedModel, name: str) -> None:
        """Keep the features of a model's tower, if it is frozen.

        Args:
            loaded: The model, before its weights are split over processes.
            name: What the model is to the job, for the manifest.
        """
        reason = "resources.featureCache is off"
        if self._store is not None:
            reason = keep_features(loaded, self._store, most=self._context.runtime.most)
        self._reasons[name] = reason
        if reason:
            self._context.tell(f"features of the {name}'s vision tower are not kept: {reason}")

    def record(self) -> Mapping[str, Any]:
        """Figures of all processes together, for the manifest; every process must call it."""
        runtime = self._context.runtime
        own = self._store.figures.as_dict() if self._store is not None else {}
        totals = dict(zip(own, map(int, runtime.sum(list(own.values()))), strict=True))
        disk = 0
        if self._folder is not None and self._owns_folder:
            disk = self._folder.size()
        (disk_bytes,) = map(int, runtime.sum([disk]))
        figures = {**totals, "diskBytes": disk_bytes} if own else {}
        if figures.get("misses"):
            self._context.tell(_sentence(figures))
        return {"models": dict(self._reasons), **figures}

    def _open_folder(self, resources: Resources, place: Path) -> FeatureFolder | None:
        asked = resources.feature_disk
        try:
            free = shutil.disk_usage(place.parent).free // _PART_OF_FREE_DISK
            limit = min(int(parse_quantity(asked)) if asked else _DISK, free)
            return FeatureFolder(place, limit=limit)
        except OSError as error:
            self._context.tell(f"features of vision towers are kept in memory alone: {error}")
            return None


def _sentence(figures: Mapping[str, int]) -> str:
    found = figures["hits"] + figures["hitsFromDisk"]
    text = (
        f"vision towers ran for {figures['misses']} media; features were found {found} times "
        f"({figures['hitsFromDisk']} on disk); {figures['memoryBytes']} bytes in memory and "
        f"{figures['diskBytes']} on disk at the end"
    )
    told = {
        "damaged": "files were damaged and made anew",
        "evicted": "were given up to keep the limits",
        "unkept": "were larger than the limit of the memory",
        "unwritten": "could not be written to or read from the disk",
    }
    more = [f"{figures[name]} {words}" for name, words in told.items() if figures[name]]
    return "; ".join([text, *more])

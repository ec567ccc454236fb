"""What the processes of a run keep of the features that frozen vision towers make."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmrlhf_jobs.features.disk import FeatureFolder
from mmrlhf_jobs.features.limits import FeatureLimits
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.frozen import TEXT_ALONE, keep_features
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.reporting.events import Tell

__all__ = ["KeptFeatures"]

_PART_OF_FREE_DISK: Final = 2
_OFF: Final = "resources.featureCache is off"


class KeptFeatures:
    """Features that the processes of a job or step keep while it runs, of all its models.

    Memory is each process's own; the folder lies in the local files of the first process of a node,
    is shared by all of the node, and goes with it.

    Args:
        limits: How much is kept on a node; None keeps nothing.
        runtime: The processes; all of them make this together.
        scratch: Local folder of this process.
        tell: Is told what whoever runs this should know.
    """

    def __init__(
        self, limits: FeatureLimits | None, *, runtime: Runtime, scratch: Path, tell: Tell
    ) -> None:
        self._runtime = runtime
        self._tell = tell
        self._reasons: dict[str, str] = {}
        node = f"{socket.gethostname()} {os.environ.get('GROUP_RANK', '0')}"
        places = runtime.gather([node, str(scratch)])
        beside = [place for name, place in places if name == node]
        self._owns_folder = beside[0] == str(scratch)
        self._store: FeatureStore | None = None
        self._folder: FeatureFolder | None = None
        if limits is None:
            return
        self._folder = self._open_folder(limits.disk, Path(beside[0]) / "features")
        self._store = FeatureStore(
            memory=limits.memory // len(beside), folder=self._folder, tell=tell
        )

    def keep(self, loaded: LoadedModel, name: str) -> None:
        """Keep the features of a model's tower, if it is frozen.

        Args:
            loaded: The model, before its weights are split over processes.
            name: What the model is to the run, for its figures.
        """
        reason = _OFF
        if self._store is not None:
            reason = keep_features(loaded, self._store, most=self._runtime.most)
        self._reasons[name] = reason
        # Who has asked for nothing, and a model without a tower, need no telling.
        if reason not in {"", _OFF, TEXT_ALONE}:
            self._tell(f"features of the {name}'s vision tower are not kept: {reason}")

    def figures(self) -> Mapping[str, Any]:
        """Figures of all processes together; every process must call it."""
        own = self._store.figures.as_dict() if self._store is not None else {}
        totals = dict(zip(own, map(int, self._runtime.sum(list(own.values()))), strict=True))
        disk = 0
        if self._folder is not None and self._owns_folder:
            disk = self._folder.size()
        (disk_bytes,) = map(int, self._runtime.sum([disk]))
        figures = {**totals, "diskBytes": disk_bytes} if own else {}
        return {"models": dict(self._reasons), **figures}

    def record(self) -> Mapping[str, Any]:
        """The same for a manifest or report, once told; every process must call it."""
        figures = self.figures()
        if figures.get("misses"):
            self._tell(_sentence(figures))
        return figures

    def _open_folder(self, limit: int, place: Path) -> FeatureFolder | None:
        if not limit:
            return None
        try:
            free = shutil.disk_usage(place.parent).free // _PART_OF_FREE_DISK
            return FeatureFolder(place, limit=min(limit, free))
        except OSError as error:
            self._tell(f"features of vision towers are kept in memory alone: {error}")
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

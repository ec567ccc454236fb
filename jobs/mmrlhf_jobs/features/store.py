"""Entries by key: in memory first, then in the folder of the node."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mmrlhf_jobs.features.disk import FeatureFolder
from mmrlhf_jobs.features.entry import DamagedEntryError, Entry

__all__ = ["FeatureFigures", "FeatureStore"]


@dataclass
class FeatureFigures:
    """What was found and made.

    Attributes:
        hits: Media whose features were found in memory.
        hitsFromDisk: The same in the folder of the node.
        misses: Media whose features were made: runs of the tower.
        damaged: Files that were not as they had been written; their features were made anew.
        evicted: Features that were given up to keep the limits.
        unkept: Features that alone are beyond the limit of the memory.
        unwritten: Features that could not be written to or read from the disk.
        memoryBytes: What the memory holds.
    """

    hits: int = 0
    hitsFromDisk: int = 0  # noqa: N815 - the names of the manifest
    misses: int = 0
    damaged: int = 0
    evicted: int = 0
    unkept: int = 0
    unwritten: int = 0
    memoryBytes: int = 0  # noqa: N815

    def as_dict(self) -> dict[str, int]:
        """As the manifest has them."""
        return asdict(self)


class FeatureStore:
    """Features of one process, and those that it shares with others of its node.

    Args:
        memory: Bytes that the memory may hold.
        folder: Folder of the node; None without one.
        tell: Is told, once, if the folder cannot be used.

    Attributes:
        figures: What was found and made.
    """

    def __init__(
        self, *, memory: int, folder: FeatureFolder | None, tell: Callable[[str], None]
    ) -> None:
        self._limit = memory
        self._folder = folder
        self._tell = tell
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.figures = FeatureFigures()

    def get(self, key: str) -> Entry | None:
        """The entry of a key, if it is kept."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
            self.figures.hits += 1
            return found
        found = self._read(key)
        if found is not None:
            self.figures.hitsFromDisk += 1
            self._remember(key, found)
        return found

    def put(self, key: str, entry: Entry) -> None:
        """Keep what was made."""
        self.figures.misses += 1
        self._remember(key, entry)
        if self._folder is not None:
            try:
                self.figures.evicted += self._folder.put(key, entry)
            except OSError as error:
                self._fail(error)

    def _read(self, key: str) -> Entry | None:
        if self._folder is None:
            return None
        try:
            return self._folder.get(key)
        except DamagedEntryError:
            self.figures.damaged += 1
        except OSError as error:
            self._fail(error)
        return None

    def _remember(self, key: str, entry: Entry) -> None:
        figures = self.figures
        if entry.size > self._limit:
            figures.unkept += 1
            return
        self._entries[key] = entry
        figures.memoryBytes += entry.size
        while figures.memoryBytes > self._limit:
            _, oldest = self._entries.popitem(last=False)
            figures.memoryBytes -= oldest.size
            figures.evicted += 1

    def _fail(self, error: OSError) -> None:
        if not self.figures.unwritten:
            self._tell(
                f"features of the vision tower cannot be kept on disk: {error}; what the memory "
                "does not hold is made again each time"
            )
        self.figures.unwritten += 1

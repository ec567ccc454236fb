"""What is coming is made ready by a thread, while the process is at work on something else.

The next step's queries are read and encoded while this step is computed. The parts of the
checkpoint that an attempt goes on from are fetched while it looks at its data and loads the model.
What comes out is the same with and without: only who waits for what differs (ADR 0035).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import TypeVar

from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.storage.artifacts import ArtifactStore

__all__ = ["FetchedAhead", "ahead", "timed"]

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next is made by a thread while the caller is at work on the last one.

    An error comes in place of the item that could not be made.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(_one, items)
        while found := coming.result():
            coming = pool.submit(_one, items)
            yield found[0]


def _one(items: Iterator[T]) -> tuple[T, ...]:
    """The next item, or nothing at the end."""
    for item in items:
        return (item,)
    return ()


def timed(items: Iterator[T], clock: Callable[[], float]) -> Iterator[tuple[T, float]]:
    """Items, and how long each was waited for, in seconds of a clock that grows steadily."""
    began = clock()
    for item in items:
        yield item, clock() - began
        began = clock()


class FetchedAhead:
    """Parts of a checkpoint, fetched before anybody asks for them.

    Nothing depends on it: what is not here when it is asked for is fetched then, by whoever asks.

    Args:
        store: Artifacts.
        folder: Local folder for the parts; may be lost.
        tell: Takes a sentence for whoever started the job.
    """

    def __init__(self, store: ArtifactStore, folder: Path, tell: Callable[[str], None]) -> None:
        self._store = store
        self._folder = folder
        self._tell = tell
        self._coming: dict[tuple[str, str], Future[Path]] = {}
        self._closed = False

    def begin(self, parts: Mapping[str, str]) -> None:
        """Begin to fetch parts, one after another, by a thread that no end of the process awaits.

        Args:
            parts: Digests of their content by key.
        """
        self._coming = {part: Future() for part in parts.items()}
        Thread(target=self._fetch, args=(dict(self._coming),), name="ahead", daemon=True).start()

    def _fetch(self, parts: Mapping[tuple[str, str], Future[Path]]) -> None:
        for number, ((key, digest), coming) in enumerate(parts.items()):
            if self._closed:
                break
            folder = self._folder / str(number)
            try:
                self._store.fetch(key, folder, digest=digest)
            except BaseException as error:  # noqa: BLE001 - whoever asks for the part gets it
                coming.set_exception(error)
            else:
                coming.set_result(folder)
        if self._closed:
            self._clear()

    def take(self, key: str, digest: str, target: Path) -> bool:
        """Wait for a part that is being fetched, and move it to its place.

        Args:
            key: Of the part.
            digest: Of its content.
            target: New folder for it.

        Returns:
            Whether it is there; False if nobody has begun to fetch it, or if that has failed.
        """
        coming = self._coming.pop((key, digest), None)
        if coming is None:
            return False
        try:
            coming.result().rename(target)
        except JobError as error:
            self._tell(f"a part of the checkpoint is fetched once more: {error}")
            return False
        return True

    def close(self) -> None:
        """Fetch no more, and let go of what nobody has asked for."""
        self._closed = True
        self._coming.clear()
        self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

"""Aliases as their tests move them, on a disk and in an object store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.storage.alias import Alias, AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Mover", "race", "time"]

NAME = "default/vqa"


def time(minute: int) -> datetime:
    return datetime(2026, 11, 29, 4, minute, tzinfo=UTC)


class Mover:
    """Artifacts in a store, and an alias of them."""

    def __init__(self, store: ArtifactStore, scratch: Path, options: StorageOptions | None) -> None:
        self.store = store
        self.options = options
        self.aliases = AliasStore(store.uri, options)
        self._scratch = scratch

    def publish(self, word: str) -> str:
        """Publish an artifact, and return its URI."""
        folder = self._scratch / word
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(word)
        self.store.publish(folder, f"models/{word}")
        return f"{self.store.uri}/models/{word}"

    def move(self, word: str, *, of: Alias | None = None, minute: int = 0) -> Alias:
        """Let the alias stand for a new artifact, as someone does who has seen it as it was."""
        uri = self.publish(word)
        digest = artifact_digest(uri, self.options)
        cause = Cause("gate", f"{word} is better", "report", "d" * 64)
        return self.aliases.move(NAME, uri, cause, now=time(minute), of=of, digest=digest)

    def read(self) -> Alias | None:
        return self.aliases.read(NAME)

    def standing(self) -> str:
        """Word of the artifact that the alias stands for."""
        alias = self.read()
        assert alias is not None
        return alias.current.uri.rpartition("/")[2]


def race(works: list[Callable[[], object]]) -> list[JobError | None]:
    """Start all at one time, and return how each ended."""
    ends: list[JobError | None] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(place: int) -> None:
        start.wait()
        try:
            works[place]()
        except JobError as error:
            ends[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends

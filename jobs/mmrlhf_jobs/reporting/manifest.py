"""manifest.json and attempts.json: the reproducible record of a run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mmrlhf_api.constants import ENV_IMAGE
from mmrlhf_jobs.errors import JobError, StorageError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.outages import TALLY, Tally

__all__ = ["SCHEMA", "Attempts", "Clock", "environment", "utc_now"]

SCHEMA = "mmrlhf.io/manifest/v1"
_PACKAGES = ("mmrlhf", "torch", "transformers", "deepspeed", "torchx-nightly", "numpy", "pyarrow")

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of production."""
    return datetime.now(UTC)


def environment() -> dict[str, Any]:
    """Versions, platform and image that this process runs on."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "image": os.environ.get(ENV_IMAGE),
        "packages": versions,
    }


@dataclass(frozen=True)
class Attempts:
    """Every start of a run and how it ended, kept across starts.

    An attempt without an end was killed, or the store was away: nothing could write it down. An
    attempt ends with what it has begun with: an earlier one that was cut off in the middle of a
    write, and comes back, takes nothing of it away.

    Args:
        store: Artifacts of the run.
        key: Key of the record.
        clock: Tells the time.
        replace: Puts a text at a key. Where another attempt may take over meanwhile, it is
            `Results.replace_text`; by default it is a mere write.
        outages: What outages of the store have cost this process.
    """

    store: ArtifactStore
    key: str
    clock: Clock
    replace: Callable[[str, str], None] | None = None
    outages: Tally = field(default_factory=lambda: TALLY)
    _begun: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)

    def read(self) -> list[dict[str, Any]]:
        """All attempts so far, oldest first.

        Raises:
            StorageError: The record is not what `begin` and `end` wrote.
        """
        text = self.store.read_text(self.key)
        if text is None:
            return []
        try:
            attempts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StorageError(
                f"{self.store.uri}/{self.key} is damaged ({error}); remove it to go on"
            ) from error
        return list(attempts)

    def begin(self, *, processes: int, fresh: bool = False, reads: Sequence[str] = ()) -> int:
        """Note a new attempt; return its 1-based number. A fresh one is the first.

        Args:
            processes: How many it has.
            fresh: Whether earlier ones are forgotten.
            reads: URIs that it is about to read: until the record is there, they stand for its
                lineage, so that nobody removes what they name.
        """
        attempts = [] if fresh else self.read()
        for attempt in attempts:
            attempt.setdefault("endedAt", None)
            attempt.setdefault("exit", "Killed")
        attempts.append(
            {
                "attempt": len(attempts) + 1,
                "startedAt": self.clock().isoformat(),
                "processes": processes,
                **({"reads": list(reads)} if reads else {}),
            }
        )
        self._write(attempts)
        self._begun[:] = attempts
        return len(attempts)

    def end(self, *, exit_name: str, step: int) -> list[dict[str, Any]]:
        """Note how the attempt that `begin` has noted ended; return all attempts."""
        attempts = self.ended(exit_name=exit_name, step=step)
        self.keep(attempts)
        return attempts

    def end_failed(self, *, exit_name: str, step: Callable[[], int]) -> None:
        """As `end`, if it can be: the record of a failure must not hide the failure itself.

        Args:
            exit_name: How the attempt ended.
            step: Tells the step that it has reached; it may have to look into the store.
        """
        try:
            self.end(exit_name=exit_name, step=step())
        except JobError:
            return

    def ended(self, *, exit_name: str, step: int) -> list[dict[str, Any]]:
        """All attempts as `end` would note them, without noting anything.

        A run has succeeded when its manifest is there: that holds this first, and `keep` follows.
        """
        attempts = [dict(attempt) for attempt in self._begun]
        if attempts:
            attempts[-1] |= {
                "endedAt": self.clock().isoformat(),
                "exit": exit_name,
                "toStep": step,
            }
            if self.outages.count:
                attempts[-1]["storageOutages"] = {
                    "count": self.outages.count,
                    "seconds": round(self.outages.seconds, 3),
                }
        return attempts

    def keep(self, attempts: list[dict[str, Any]]) -> None:
        """Note what `ended` returned."""
        if attempts:
            self._write(attempts)
            self._begun[:] = attempts

    @property
    def begun(self) -> Sequence[Mapping[str, Any]]:
        """All attempts as this process has last noted them, its own last; none before `begin`."""
        return tuple(self._begun)

    def note(self, **facts: object) -> None:
        """Note more of the attempt that this process has begun.

        Raises:
            StorageError: The store fails.
        """
        if self._begun:
            self.keep([*self._begun[:-1], {**self._begun[-1], **facts}])

    def _write(self, attempts: list[dict[str, Any]]) -> None:
        replace = self.replace or self.store.write_text
        replace(self.key, json.dumps(attempts, indent=2) + "\n")

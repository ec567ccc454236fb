"""What a run leaves behind, put in place by one attempt, as a whole.

::

    <run>/results/000002-<token>/   all that one attempt will leave, in a place of its own
    <run>/...                       what readers see

An attempt writes its results into a place of its own. When all of them are there, it writes
``manifest.json`` beside them: it lists every file with size and digest, and from then on the
results are decided. Only then are they put where readers look, file by file with the manifest last,
and at the end the place is removed. On a local file system files are moved, in an object store they
are copied by the server.

Whoever claims the run next first settles what earlier attempts have left: decided results are put
in place, which does the same whoever does it and however often; all others are removed. So an
attempt that was cut off can do no harm when it comes back, whatever it is about to do: what it
uploads lies in its own place; results that it decides now are older than those in place, by the
number of its claim, and are never put there; and what it puts in place comes from a place that its
successor has settled and removed. No store needs more for this than writes of single objects that
are whole and listings that are up to date. What an attempt keeps up to date beside its results goes
the same way (`Results.replace_text`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim, Holder
from mmrlhf_jobs.storage.folders import FileEntry, entry_of, read_entry
from mmrlhf_jobs.storage.marker import MARKER, make_marker

__all__ = ["Finished", "Results"]

_MANIFEST: Final = "manifest.json"
_PLACES: Final = "results"
_FIRST: Final = Holder(0, 0, "")
"""Nobody has claimed the run yet."""


@dataclass(frozen=True)
class Finished:
    """A run that says that it is complete.

    Attributes:
        manifest: Its record.
        missing: A file that the record names and that is not there whole; None: all are.
    """

    manifest: Mapping[str, Any]
    missing: str | None = None


class Results:
    """The results of one attempt, and those that a run shows.

    Args:
        store: Artifacts; each write must look at the claim first (`ArtifactStore.guarded`).
        run: Key of the run.
        claim: The claim on it, taken before any other use of this.
    """

    def __init__(self, store: ArtifactStore, run: str, claim: Claim) -> None:
        self._store = store
        self._run = run
        self._claim = claim
        self._files: dict[str, FileEntry] = {}

    @property
    def place(self) -> str:
        """Key of this attempt's own place."""
        return f"{self._run}/{_PLACES}/{self._claim.holder.name}"

    @property
    def left(self) -> Mapping[str, FileEntry]:
        """What this attempt has left so far, by path below the run."""
        return dict(self._files)

    def publish(self, folder: Path, name: str) -> None:
        """Keep a folder as an artifact of the results; errors as in `ArtifactStore.publish`."""
        key = f"{self.place}/{name}"
        entries = self._store.publish(folder, key)
        for entry in (*entries, entry_of(MARKER, make_marker(entries))):
            path = f"{name}/{entry.path}"
            self._files[path] = FileEntry(path, entry.size, entry.sha256)

    def write_text(self, name: str, text: str) -> None:
        """Keep a text; errors as in `ArtifactStore.write_text`."""
        self._store.write_text(f"{self.place}/{name}", text)
        self._files[name] = entry_of(name, text.encode())

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """Write a file locally, and keep it when the block ends without an error.

        Yields:
            Path of a local file to create.
        """
        with self._store.new_file(f"{self.place}/{name}") as path:
            yield path
            self._files[name] = read_entry(path, name)

    def replace_text(self, key: str, text: str) -> None:
        """Put a text at a key that is no result, in place of what is there, by the own place.

        A write at the key itself that is cut off, and comes back when a successor has ended, would
        put the old text in place of the successor's. So it is written to the own place and put in
        place from there: once a successor has settled that place, nothing is left to put.

        Raises:
            SupersededError: Another attempt has taken over; the text is as it left it.
            StorageError: The store fails; the old text stays.
        """
        own = f"{self.place}/{key.rpartition('/')[2]}"
        self._store.write_text(own, text)
        self._store.put(own, key, len(text.encode()))
        self._store.remove(own)  # object stores copy
        if not self._store.sizes(self.place):
            self._drop(self.place)

    def conclude(self, manifest: Mapping[str, Any]) -> None:
        """Decide the results and put them in place; ``files`` and ``claim`` of the record are ours.

        Raises:
            SupersededError: Another attempt has taken over; what readers see is as it left it.
            StorageError: The store fails; the next attempt goes on with it.
        """
        content = {
            **manifest,
            "claim": self._claim.holder.number,
            "files": [asdict(self._files[name]) for name in sorted(self._files)],
        }
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        self._store.write_text(f"{self.place}/{_MANIFEST}", text)
        self._put(self.place, [*self._files.values(), entry_of(_MANIFEST, text.encode())])
        self._drop(self.place)

    def show(self) -> None:
        """Put what is there in place, without a manifest: of a run that failed after it."""
        self._put(self.place, list(self._files.values()))

    def finished(self, *, model: str | None = None) -> Finished | None:
        """The record of a complete run; None if it is not one, or was begun anew since.

        Args:
            model: Key of the artifact that records of older versions stand for, which list no
                files.
        """
        manifest = _read(self._store.read_text(f"{self._run}/{_MANIFEST}"))
        holder = self._claim.known()
        if manifest is None or not (holder or _FIRST).counts(_number(manifest.get("claim"))):
            return None
        if (named := _named(manifest)) is None:
            named = [] if model is None else self._published(model)
        there = self._store.sizes(self._run)
        missing = (e.path for e in named if there.get(f"{self._run}/{e.path}") != e.size)
        return Finished(manifest, next(missing, None))

    def settle(self) -> None:
        """Put decided results of earlier attempts in place, the latest last, and remove all others.

        Raises:
            SupersededError: Another attempt has taken over.
            StorageError: The store fails.
        """
        places = f"{self._run}/{_PLACES}"
        found = (key.removeprefix(f"{places}/") for key in self._store.sizes(places))
        names = {key.partition("/")[0] for key in found}
        shown = _read(self._store.read_text(f"{self._run}/{_MANIFEST}")) or {}
        newest = max(_number(shown.get("claim")), self._claim.holder.since - 1)
        for name in sorted(names - {self._claim.holder.name}, reverse=True):
            place, number = f"{places}/{name}", Holder.number_in(name)
            text = self._store.read_text(f"{place}/{_MANIFEST}") if number > newest else None
            named = _named(_read(text) or {})
            if text is not None and named is not None and self._whole(place, named):
                self._put(place, [*named, entry_of(_MANIFEST, text.encode())])
                newest = number
            self._drop(place)

    def _whole(self, place: str, named: Sequence[FileEntry]) -> bool:
        """Whether decided results are all there; some may be where readers look already."""
        own, shown = self._store.sizes(place), self._store.sizes(self._run)
        return all(
            entry.size in (own.get(f"{place}/{entry.path}"), shown.get(f"{self._run}/{entry.path}"))
            for entry in named
        )

    def _put(self, place: str, entries: Sequence[FileEntry]) -> None:
        """Put files of a place where readers look: markers after their folders, manifest last."""
        folders = [e.path.rpartition("/")[0] for e in entries if _is_marker(e)]
        for folder in folders:
            self._store.move_folder(f"{place}/{folder}", f"{self._run}/{folder}")
        there = self._store.sizes(place)
        named = {f"{self._run}/{entry.path}" for entry in entries}
        for entry in sorted(entries, key=lambda e: (e.path == _MANIFEST, _is_marker(e), e.path)):
            if _is_marker(entry):
                self._remove_others(f"{self._run}/{entry.path.rpartition('/')[0]}", named)
            # What is not there any more was moved by this attempt or the one before.
            if f"{place}/{entry.path}" in there:
                self._store.put(f"{place}/{entry.path}", f"{self._run}/{entry.path}", entry.size)

    def _remove_others(self, folder: str, named: set[str]) -> None:
        """Remove from an artifact's folder what older results had there and these have not."""
        for key in sorted(self._store.sizes(folder).keys() - named):
            self._store.remove(key)

    def _drop(self, place: str) -> None:
        """Remove a place; without its manifest it is no results any more, so that goes first."""
        self._store.remove(f"{place}/{_MANIFEST}")
        self._store.remove(place)
        if not self._store.sizes(f"{self._run}/{_PLACES}"):
            self._store.remove(f"{self._run}/{_PLACES}")  # the empty folder, on a file system

    def _published(self, model: str) -> list[FileEntry]:
        name = model.removeprefix(f"{self._run}/")
        entries = self._store.entries(model)
        if entries is None:
            return [FileEntry(f"{name}/{MARKER}", -1, "")]
        return [FileEntry(f"{name}/{e.path}", e.size, e.sha256) for e in entries]


def _is_marker(entry: FileEntry) -> bool:
    return entry.path.rpartition("/")[2] == MARKER


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def _read(text: str | None) -> dict[str, Any] | None:
    """A manifest; None for one that is damaged, which is as good as none."""
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _named(manifest: Mapping[str, Any]) -> list[FileEntry] | None:
    """Files that a manifest lists; None if it lists none, as those of older versions."""
    try:
        return [FileEntry(**entry) for entry in manifest["files"]]
    except (KeyError, TypeError, ValueError):
        return None

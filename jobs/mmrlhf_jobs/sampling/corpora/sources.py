"""Corpora and their splits: the files that a job reads, each the unit of reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.plain_bytes import PACKINGS, packing_of
from mmrlhf_jobs.data.sources import holds_lines, is_hidden
from mmrlhf_jobs.errors import DataError, StorageError
from mmrlhf_jobs.storage.uris import Location, StorageOptions, locate, parent_uri, storage_errors

__all__ = ["Corpus", "Fingerprint", "Split", "SplitFormat", "list_splits"]

SplitFormat: TypeAlias = Literal["llava", "jsonl", "parquet", "webdataset"]
"""llava: one JSON array; jsonl: one JSON object a line; both hold rows of the same shapes."""

_SUFFIXES: Final[Mapping[str, SplitFormat]] = {
    ".json": "llava",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tar": "webdataset",
}
_PACKED: Final = (".zip", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Corpus:
    """One corpus to choose from (``spec.sources``).

    Attributes:
        name: Its name, unique in the job.
        uri: A file, a folder (its data files, not those of folders below), or a pattern with
            ``*``, where ``**`` stands for any folders.
        format: Format of all files; ``auto`` goes by names, and by first bytes for ``.json``.
        media_root: Folder that relative media paths start from; None: that of the data file.
        type: Type of all its questions; ``auto`` finds the type of each.
        weight: How much likelier its rows are picked than those of a corpus of weight 1.
        allowed_media_roots: Other folders that media may be in.
    """

    name: str
    uri: str
    format: Literal["auto", "llava", "jsonl", "parquet", "webdataset"] = "auto"
    media_root: str | None = None
    type: Literal["auto", "long", "short", "mcq", "safety"] = "auto"
    weight: float = 1.0
    allowed_media_roots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """What tells that a file was changed, without reading it.

    Attributes:
        size: Bytes.
        version: ETag of an object, time of the last change of a local file.
    """

    size: int
    version: str

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Fingerprint:
        """From what the file system says about a file."""
        version = info.get("ETag") or info.get("mtime") or info.get("LastModified") or ""
        return cls(int(info["size"]), str(version).strip('"'))


@dataclass(frozen=True)
class Split:
    """One file of a corpus.

    Attributes:
        corpus: Where it belongs.
        uri: For messages and for opening.
        relative: Its path below the corpus; the same wherever the corpus lies.
        format: How to read it.
        fingerprint: As it was when the files were listed.
        storage: How to reach an object store.
    """

    corpus: Corpus
    uri: str
    relative: str
    format: SplitFormat
    fingerprint: Fingerprint
    storage: StorageOptions | None = None

    @property
    def location(self) -> Location:
        """Its URI, resolved."""
        return locate(self.uri, self.storage)

    @property
    def id(self) -> str:
        """Name of its parts: 16 hexadecimal digits."""
        return digest_of("split", self.corpus.name, self.relative).hex()[:16]

    @property
    def media_root(self) -> str:
        """Folder that relative media paths start from."""
        return self.corpus.media_root or parent_uri(self.uri)

    @property
    def media_folders(self) -> MediaFolders:
        """Where media may be."""
        return MediaFolders(self.media_root, self.corpus.allowed_media_roots)

    def check_unchanged(self) -> None:
        """Compare with the file as it is now.

        Raises:
            DataError: It was changed since the files were listed.
            StorageError: It is gone, or the store does not answer.
        """
        with storage_errors(self.uri, "read"):
            now = Fingerprint.of(self.location.fs.info(self.location.path))
        if now != self.fingerprint:
            raise DataError(
                f"was changed while the job read it ({self.fingerprint.size} bytes of"
                f" {self.fingerprint.version}, now {now.size} of {now.version}); let it be, and"
                " run the job again",
                file=self.uri,
            )


def list_splits(
    corpora: Sequence[Corpus],
    storage: StorageOptions | None = None,
    leave_out: Callable[[str], None] | None = None,
) -> tuple[Split, ...]:
    """Find the files of all corpora, in the order of their ids.

    Args:
        corpora: The corpora.
        storage: How to reach an object store.
        leave_out: Told the URIs of hidden files, which are left out.

    Raises:
        DataError: A corpus has no files, or the format of one is not known.
        StorageError: The store does not answer.
    """
    splits = [split for corpus in corpora for split in _splits_of(corpus, storage, leave_out)]
    return tuple(sorted(splits, key=lambda split: split.id))


def _splits_of(
    corpus: Corpus, storage: StorageOptions | None, leave_out: Callable[[str], None] | None
) -> list[Split]:
    location = locate(corpus.uri, storage)
    try:
        with storage_errors(corpus.uri, "read"):
            found, root = _find(location, any_name=corpus.format != "auto")
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(
                f"source {corpus.name}: no such file or folder; check its uri", file=corpus.uri
            ) from error
        raise
    splits = []
    for info in found:
        path = str(info["name"])
        uri = path if location.is_local else location.fs.unstrip_protocol(path)
        place = Location(uri, location.fs, path)
        if path != location.path and is_hidden(path.removeprefix(root)):
            if leave_out is not None:
                leave_out(uri)
            continue
        splits.append(
            Split(
                corpus=corpus,
                uri=uri,
                relative=path.removeprefix(root).lstrip("/"),
                format=_format_of(corpus, place),
                fingerprint=Fingerprint.of(info),
                storage=storage,
            )
        )
    if not splits:
        raise DataError(
            f"source {corpus.name}: no data files are there; expected files named"
            f" {', '.join(_SUFFIXES)} (JSON also with {', '.join(PACKINGS)})",
            file=corpus.uri,
        )
    return splits


def _find(location: Location, *, any_name: bool) -> tuple[list[Mapping[str, Any]], str]:
    """Files, and the part of their paths that all have in common by the URI."""
    fs, path = location.fs, location.path
    if "*" in path:
        found = fs.glob(path, detail=True).values()
        root = path.partition("*")[0].rpartition("/")[0]
        return [info for info in found if info["type"] == "file"], root
    info = fs.info(path)
    if info["type"] == "file":
        return [info], path.rpartition("/")[0]
    entries = [entry for entry in fs.ls(path, detail=True) if entry["type"] == "file"]
    named = [entry for entry in entries if _by_name(str(entry["name"])) is not None]
    # A folder may hold other things beside the data; a format that is given settles it.
    return named if named or not any_name else entries, path.rstrip("/")


def _by_name(path: str) -> SplitFormat | None:
    plain = path.lower().removesuffix(packing_of(path))
    return next((kind for end, kind in _SUFFIXES.items() if plain.endswith(end)), None)


def _format_of(corpus: Corpus, place: Location) -> SplitFormat:
    name = place.path.lower()
    by_name = _by_name(name)
    kind = corpus.format if corpus.format != "auto" else by_name
    if name.endswith(_PACKED) or (packing_of(name) and kind in ("parquet", "webdataset")):
        raise DataError(
            f"a compressed file is read if it is JSON ({', '.join(PACKINGS)}); unpack it",
            file=place.uri,
        )
    if kind is None:
        raise DataError(
            f"source {corpus.name}: the format is not known by the name; expected one of"
            f" {', '.join(_SUFFIXES)}, or set format",
            file=place.uri,
        )
    return "jsonl" if kind == "llava" and holds_lines(place, place.uri) else kind

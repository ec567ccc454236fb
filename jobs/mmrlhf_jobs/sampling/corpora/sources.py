"""Corpora and their splits: the files that a job reads, each the unit of reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media_folders import MediaFolders
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
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tgz")
_SNIFFED_BYTES: Final = 4096


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
    corpora: Sequence[Corpus], storage: StorageOptions | None = None
) -> tuple[Split, ...]:
    """Find the files of all corpora, in the order of their ids.

    Raises:
        DataError: A corpus has no files, or the format of one is not known.
        StorageError: The store does not answer.
    """
    splits = [split for corpus in corpora for split in _splits_of(corpus, storage)]
    return tuple(sorted(splits, key=lambda split: split.id))


def _splits_of(corpus: Corpus, storage: StorageOptions | None) -> list[Split]:
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
            f" {', '.join(_SUFFIXES)}, not compressed",
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
    named = [entry for entry in entries if str(entry["name"]).lower().endswith((*_SUFFIXES,))]
    # A folder may hold other things beside the data; a format that is given settles it.
    return named if named or not any_name else entries, path.rstrip("/")


def _format_of(corpus: Corpus, place: Location) -> SplitFormat:
    if corpus.format != "auto" and corpus.format != "llava":  # noqa: PLR1714 - narrows the type
        return corpus.format
    name = place.path.lower()
    if name.endswith(_PACKED):
        raise DataError("compressed files are not read; unpack it", file=place.uri)
    by_name = next((kind for end, kind in _SUFFIXES.items() if name.endswith(end)), None)
    if corpus.format == "auto" and by_name is None:
        raise DataError(
            f"source {corpus.name}: the format is not known by the name; expected one of"
            f" {', '.join(_SUFFIXES)}, or set format",
            file=place.uri,
        )
    if corpus.format == "auto" and by_name != "llava":
        assert by_name is not None
        return by_name
    with storage_errors(place.uri, "read"):
        head: bytes = place.fs.cat_file(place.path, start=0, end=_SNIFFED_BYTES)
    return "jsonl" if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else "llava"

"""What is in a store: its runs with what they were made from, its caches, and who needs what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.origins import read_lineage
from mmrlhf_api.pipelines.names import LABEL_PIPELINE, LABEL_STEP
from mmrlhf_jobs.errors import DamagedError
from mmrlhf_jobs.retention.plan import Found, FoundCache, FoundRun, Need
from mmrlhf_jobs.storage.alias import AliasStore
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marks import MARK, Marks
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["survey"]

_RECORD: Final = "manifest.json"
_ATTEMPTS: Final = "attempts.json"
_OF_A_RUN: Final = frozenset({_RECORD, "claim.json", MARK})
"""Any of these makes a folder a run's."""
_NO_NAMESPACES: Final = frozenset({"aliases", "cache", "embeddings"})


_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Folder:
    """Files of one folder, by their path below it."""

    files: dict[str, int] = field(default_factory=dict)
    touched: datetime = _NEVER

    def add(self, name: str, size: int, written: datetime) -> None:
        self.files[name] = size
        self.touched = max(self.touched, written)

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def survey(uri: str, options: StorageOptions | None = None, *, also: Sequence[str] = ()) -> Found:
    """Look at all that is in a store.

    Args:
        uri: Folder of artifacts: a path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.
        also: Other stores, whose aliases and runs may name something of this one.

    Raises:
        DamagedError: An alias is damaged: what it needs cannot be told.
        StorageError: A store cannot be read.
    """
    runs, caches = _folders(uri, options)
    needs = [*_alias_needs(uri, options)]
    for other in also:
        needs += _alias_needs(other, options)
        theirs, _ = _folders(other, options)
        needs += [
            Need(read, f"{other.rstrip('/')}/{run.key} was made from it")
            for run in _read_runs(other, options, theirs)
            for read in run.reads
            if not run.is_gone
        ]
    return Found(
        uri.rstrip("/"),
        tuple(_read_runs(uri, options, runs)),
        tuple(
            FoundCache(key, one.touched, one.bytes, len(one.files)) for key, one in caches.items()
        ),
        tuple(needs),
    )


def _folders(
    uri: str, options: StorageOptions | None
) -> tuple[dict[str, _Folder], dict[str, _Folder]]:
    """Folders that may be runs, and cached values, by their keys."""
    place = locate(uri, options)
    with storage_errors(uri, "list"):
        listed = place.fs.find(place.path, detail=True) if place.fs.exists(place.path) else {}
    runs: dict[str, _Folder] = {}
    caches: dict[str, _Folder] = {}
    for path, info in listed.items():
        parts = str(path).removeprefix(place.path).strip("/").split("/")
        size, written = int(info["size"]), _written(info)
        if parts[0] == "cache" and len(parts) > 2:
            kind, name = parts[1], parts[2].removesuffix(".json")
            folder = caches.setdefault(f"cache/{kind}/{parts[2]}", _Folder())
            folder.add("/".join(parts[3:]) or name, size, written)
        elif len(parts) > 3 and parts[0] not in _NO_NAMESPACES:
            folder = runs.setdefault("/".join(parts[:3]), _Folder())
            folder.add("/".join(parts[3:]), size, written)
    return {key: one for key, one in runs.items() if one.files.keys() & _OF_A_RUN}, caches


def _written(info: Mapping[str, Any]) -> datetime:
    """When a file was written, as its file system has it."""
    found = info.get("LastModified") or info.get("mtime") or info.get("created")
    if isinstance(found, datetime):
        return found.astimezone(UTC)
    return datetime.fromtimestamp(float(found or 0), UTC)


def _read_runs(
    uri: str, options: StorageOptions | None, folders: Mapping[str, _Folder]
) -> Iterator[FoundRun]:
    store, marks = ArtifactStore(uri, options), Marks(uri, options)
    for key in sorted(folders):
        one = folders[key]
        record, flaw = _record(store, key) if _RECORD in one.files else (None, "")
        attempts = _json(store, f"{key}/{_ATTEMPTS}") if _ATTEMPTS in one.files else None
        namespace, name, _ = key.split("/")
        job = record["job"] if record is not None else {}
        meta = _mapping(job, "metadata")
        labels = _mapping(meta, "labels")
        pipeline, step = labels.get(LABEL_PIPELINE), labels.get(LABEL_STEP)
        whole = record is not None
        kind = str(job.get("kind") or "job")
        yield FoundRun(
            key=key,
            series=(namespace, str(pipeline or name), str(step or ""), kind),
            title=f"{kind} {namespace}/{name}" if whole else f"{namespace}/{name}",
            pipeline=None if pipeline is None else str(pipeline),
            ended=_ended(record, one.touched) if record is not None else None,
            touched=one.touched,
            bytes=one.bytes,
            files=len(one.files),
            reads=tuple(dict.fromkeys([*_recorded(record), *_attempted(attempts)])),
            mark=marks.read(key) if MARK in one.files else None,
            flaw=flaw,
        )


def _record(store: ArtifactStore, key: str) -> tuple[Mapping[str, Any] | None, str]:
    """The record of a run, or why there is none to go by."""
    found = _json(store, f"{key}/{_RECORD}")
    job = _mapping(found, "job") if isinstance(found, Mapping) else {}
    meta = _mapping(job, "metadata")
    if not isinstance(found, Mapping) or not job:
        return None, f"{_RECORD} is damaged"
    if f"{meta.get('namespace') or 'default'}/{meta.get('name')}" != key.rpartition("/")[0]:
        return None, f"{_RECORD} is of another job"
    return found, ""


def _recorded(record: Mapping[str, Any] | None) -> Iterator[str]:
    """What a run was made from: by its lineage, and by its spec for those of earlier versions."""
    if record is None:
        return
    for origin in read_lineage(record) or ():
        yield origin.uri
        if origin.run is not None:
            yield origin.run
    job = record["job"]
    kind = KINDS.get(str(job.get("kind")))
    if kind is None:
        yield from _texts(_mapping(job, "spec"))
        return
    try:
        spec = kind.model.model_validate(job, by_alias=True, by_name=False).spec
        yield from (one.uri for one in kind.inputs(spec))
    except (ValueError, TypeError):
        # Of a version that knew other fields: whatever looks like a place counts.
        yield from _texts(_mapping(job, "spec"))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if "/" in value:
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _attempted(attempts: object) -> Iterator[str]:
    """What attempts have said that they read."""
    for one in attempts if isinstance(attempts, list) else ():
        reads = one.get("reads") if isinstance(one, Mapping) else None
        yield from (str(uri) for uri in (reads if isinstance(reads, list) else ()))


def _ended(record: Mapping[str, Any], touched: datetime) -> datetime:
    attempts = record.get("attempts")
    last = attempts[-1] if isinstance(attempts, list) and attempts else None
    end = last.get("endedAt") if isinstance(last, Mapping) else None
    try:
        return datetime.fromisoformat(str(end)).astimezone(UTC)
    except ValueError:
        return touched


def _alias_needs(uri: str, options: StorageOptions | None) -> Iterator[Need]:
    """What aliases stand for, what they may be rolled back to, and the reports that say why."""
    store = ArtifactStore(uri, options)
    keys: Iterable[str] = store.sizes("aliases")
    for key in sorted(keys):
        name = key.removeprefix("aliases/").removesuffix(".json")
        if not key.endswith(".json") or any(part.startswith(".") for part in key.split("/")):
            continue
        alias = AliasStore(uri, options).read(name)
        if alias is None:
            continue
        before = [entry for entry in alias.history if not entry.withdrawn]
        for rank, entry in enumerate((alias.current, *before)):
            word = "stands for it" if rank == 0 else "may be rolled back to it"
            yield Need(entry.uri, f"alias {name} {word}", rank)
            if entry.cause.report is not None:
                yield Need(entry.cause.report, f"alias {name} names its report", rank)


def _json(store: ArtifactStore, key: str) -> object:
    try:
        return json.loads(store.read_text(key) or "")
    except (DamagedError, ValueError, RecursionError):
        return None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}

"""Answers from Label Studio's target storage: an object an annotation, while people annotate.

Each object is an annotation with its task in it, named by the number of the annotation, as
``io_storages`` of Label Studio 1.x writes it (``StorageAnnotationSerializer``). The export of the
same project holds the same by task, so that is what they are made into.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mmrlhf_jobs.data.json_rows import UnreadableRowError, parse_object
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import Location, storage_errors

__all__ = ["is_target_storage", "stream_stored_tasks"]

_AT_ONCE: Final = 256
"""Objects that are read at once."""


def is_target_storage(location: Location) -> bool:
    """Whether answers are a folder, and no file.

    Raises:
        StorageError: The store does not answer.
    """
    with storage_errors(location.uri, "read"):
        return bool(location.fs.isdir(location.path))


def stream_stored_tasks(location: Location) -> Iterator[dict[str, Any] | RowFault]:
    """Read all annotations below a folder, and give each task with those of it, as an export does.

    An object that is no such annotation is given as the fault that it is.

    Raises:
        DataError: There is none.
        StorageError: The store does not answer.
    """
    with storage_errors(location.uri, "read"):
        found = location.fs.find(location.path, detail=True)
    paths = sorted(path for path, info in found.items() if info["size"])
    if not paths:
        raise DataError("no annotation is there; is it the target storage?", file=location.uri)
    tasks: dict[int, dict[str, Any]] = {}
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for start in range(0, len(paths), _AT_ONCE):
        for path, content in _read(location, paths[start : start + _AT_ONCE]):
            try:
                annotation = parse_object(content)
                task = annotation["task"]
                number, order = int(task["id"]), int(annotation["id"])
                task["data"]["task_id"]
            except UnreadableRowError as error:
                yield _fault(location, path, str(error))
                continue
            except (KeyError, TypeError, ValueError) as error:
                yield _fault(
                    location,
                    path,
                    f"is no annotation with its task ({type(error).__name__}: {error}); name the"
                    " prefix of Label Studio's target storage, and nothing else below it",
                )
                continue
            tasks[number] = task
            annotations[number].append({**annotation, "id": order})
    for number in sorted(tasks):
        told = sorted(annotations[number], key=lambda one: int(one["id"]))
        yield {**tasks[number], "id": number, "annotations": told}


def _read(location: Location, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    with storage_errors(location.uri, "read"):
        contents: dict[str, bytes] = location.fs.cat(list(paths))
    yield from sorted(contents.items())


def _fault(location: Location, path: str, reason: str) -> RowFault:
    uri = path if location.is_local else str(location.fs.unstrip_protocol(path))
    return RowFault(reason, kind="unreadable-row", file=uri)

"""Answers from Label Studio: its raw JSON export, or its target storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mmrlhf_jobs.annotation.answers import Answer, AnsweredTask
from mmrlhf_jobs.annotation.items import read_each, stream_items
from mmrlhf_jobs.annotation.label_studio.page import BUCKET
from mmrlhf_jobs.annotation.label_studio.target_storage import (
    is_target_storage,
    stream_stored_tasks,
)
from mmrlhf_jobs.annotation.tasks import LETTERS
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.storage.uris import StorageOptions, locate

__all__ = ["read_label_studio"]

_UNRANKED = "_"
"""Where the ranker keeps what is in no bucket."""


_KNOWN_BY: Final = (
    "task of an export as raw JSON; in Label Studio choose the format JSON, not JSON_MIN or CSV"
)


def read_label_studio(
    uri: str, *, storage: StorageOptions | None = None
) -> Iterator[AnsweredTask | RowFault]:
    """Read tasks one by one; what is no task is given as the fault that it is.

    Cancelled annotations, drafts and predictions are counted and not read.

    Args:
        uri: An export as raw JSON, or the folder of a target storage.
        storage: Where the object store is, for ``s3://``.

    Raises:
        DataError: The file is no JSON array, or the folder is empty.
        StorageError: The store does not answer.
    """
    location = locate(uri, storage)
    items = (
        stream_stored_tasks(location)
        if is_target_storage(location)
        else stream_items(uri, storage=storage)
    )
    yield from read_each(items, uri, _task, known_by=_KNOWN_BY)


def _task(task: Mapping[str, Any]) -> AnsweredTask:
    data = task["data"]
    annotations = task["annotations"]
    answered = AnsweredTask(
        tool="label-studio",
        number=str(task["id"]),
        task_id=data["task_id"],
        question=data["question"],
        texts=[response["text"] for response in data["responses"]],
        answers=[_answer(one) for one in annotations if not one["was_cancelled"]],
    )
    answered.set_aside.update(
        cancelled=sum(bool(one["was_cancelled"]) for one in annotations),
        drafts=len(task.get("drafts") or ()),
        predictions=len(task.get("predictions") or ()),
    )
    return answered


def _answer(annotation: Mapping[str, Any]) -> Answer:
    fields: dict[str, object] = {}
    repeated: Counter[str] = Counter()
    for result in annotation["result"]:
        for name, value in _values(result):
            repeated[name] += name in fields
            fields[name] = value
    for name, count in repeated.items():
        if count:
            fields[f"{name} (given {count + 1} times)"] = fields.pop(name)
    by = annotation["completed_by"]
    return Answer(
        place=f"annotation {annotation['id']}",
        annotator=str(by["id"] if isinstance(by, Mapping) else by),
        updated_at=str(annotation.get("updated_at") or annotation["created_at"]),
        fields=fields,
        seconds=annotation.get("lead_time"),
    )


def _values(result: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Fields that a result gives."""
    kind, value, name = result["type"], result["value"], _field(result["from_name"])
    if kind == "ranker":
        return _ranks(value["ranker"])
    if kind == "textarea":
        return [(name, "\n".join(value["text"]))]
    if kind == "choices":
        chosen: Sequence[object] = value["choices"]
        return [(name, chosen[0] if len(chosen) == 1 else list(chosen))]
    return [(name, value)]


def _ranks(buckets: Mapping[str, Sequence[str]]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for bucket, letters in buckets.items():
        if bucket != _UNRANKED:
            rank = bucket.removeprefix(BUCKET)
            found += [(f"{letter}.rank", rank) for letter in letters]
    return found


def _field(name: str) -> str:
    """``reason_1`` is ``B.reason``; other names are as they are."""
    base, _, index = name.rpartition("_")
    if base and index.isascii() and index.isdigit() and int(index) < len(LETTERS):
        return f"{LETTERS[int(index)]}.{base}"
    return name

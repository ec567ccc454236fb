"""Answers from records that Argilla's client has serialised.

``records.to_json`` of the client does not say which responses were submitted, so drafts and
discarded ones would count. ``record.serialize()`` says it, and is what is read here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mmrlhf_jobs.annotation.answers import Answer, AnsweredTask
from mmrlhf_jobs.annotation.items import read_items
from mmrlhf_jobs.annotation.tasks import LETTERS
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["read_argilla"]


_KNOWN_BY: Final = "record as record.serialize() gives it; see docs/annotation.md for how to export"


def read_argilla(
    uri: str, *, storage: StorageOptions | None = None
) -> Iterator[AnsweredTask | RowFault]:
    """Read a JSON array of serialised records, of any number of data sets.

    What is no record is given as the fault that it is.

    Drafts, discarded responses and suggestions are counted and not read.

    Raises:
        DataError: The file is no such array.
        StorageError: The store does not answer.
    """
    yield from read_items(uri, _task, known_by=_KNOWN_BY, storage=storage)


def _task(record: Mapping[str, Any]) -> AnsweredTask:
    shown = record["fields"]
    letters = [one for one in LETTERS if f"response_{one.lower()}" in shown]
    by_user: dict[str, dict[str, object]] = {}
    set_aside: Counter[str] = Counter(suggestions=len(record["suggestions"]))
    unread: dict[str, str] = {}
    for response in record["responses"]:
        user = str(response["user_id"])
        if response["status"] != "submitted":
            unread[user] = response["status"]
        elif response["value"] is not None:
            name = _field(response["question_name"])
            by_user.setdefault(user, {})[name] = response["value"]
    set_aside.update("drafts" if one == "draft" else "cancelled" for one in unread.values())
    updated = str(record.get("updated_at") or "")
    return AnsweredTask(
        tool="argilla",
        number=str(record.get("id") or record["external_id"]),
        task_id=record["external_id"],
        question=shown["question"],
        texts=[shown[f"response_{letter.lower()}"] for letter in letters],
        answers=[
            Answer(f"the response of user {user}", user, updated, fields)
            for user, fields in by_user.items()
        ],
        set_aside=set_aside,
    )


def _field(name: str) -> str:
    """``b_reason`` is ``B.reason``; other names are as they are."""
    letter, _, rest = name.partition("_")
    if len(letter) == 1 and rest and letter.upper() in LETTERS:
        return f"{letter.upper()}.{rest}"
    return name

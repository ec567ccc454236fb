"""Queries, and what annotators enter about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmrlhf_jobs.annotation.answers import Answer, AnsweredTask
from mmrlhf_jobs.annotation.tasks import LETTERS, Task, make_task
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord
from tests.unit.data.builders import IMAGE_SHA256

__all__ = ["answer", "answered", "fill", "make_query", "results", "task_of"]


def make_query(record_id: str = "q1", num_responses: int = 3, **changes: Any) -> QueryRecord:
    return QueryRecord.model_validate(
        {
            "schema": QUERY_SCHEMA,
            "record_id": record_id,
            "domain": "image",
            "type": "short",
            "query": {"text": f"Which digit is it in {record_id}?"},
            "media": [{"uri": "image.png", "sha256": IMAGE_SHA256}],
            "responses": [
                {
                    "response_id": f"{record_id}-{place}",
                    "text": f"Answer <{place}>\n\nto {record_id} & more.",
                    "model": {"name": f"model-{place}"},
                }
                for place in range(num_responses)
            ],
            **changes,
        }
    )


def task_of(num_responses: int = 3, record_id: str = "q1") -> Task:
    return make_task(make_query(record_id, num_responses), seed=0)


def fill(
    task: Task,
    ranks: Sequence[int],
    scores: Sequence[tuple[int, int, int]] | None = None,
    **changes: Any,
) -> dict[str, object]:
    """Fields of an answer; ranks and scores are in the order of the record's responses.

    Changes named ``A__reason`` are of the field ``A.reason``; None clears a field.
    """
    by_id = {one.response_id: place for place, one in enumerate(task.query.responses)}
    fields: dict[str, object] = {"basis": "By what is seen.", "tie": "none"}
    for letter, name in zip(task.letters, task.slots, strict=True):
        place = by_id[name]
        given = scores[place] if scores else (6 - min(5, ranks[place]),) * 3
        fields[f"{letter}.rank"] = ranks[place]
        fields[f"{letter}.reason"] = f"Reason of {name}."
        for criterion, score in zip(("faithfulness", "helpfulness", "ethics"), given, strict=True):
            fields[f"{letter}.{criterion}"] = score
    for name, value in changes.items():
        fields[name.replace("__", ".")] = value
    return {name: value for name, value in fields.items() if value is not None}


def answer(fields: Mapping[str, object], by: str = "1", at: str = "2026-01-01") -> Answer:
    return Answer(place=f"annotation of {by}", annotator=by, updated_at=at, fields=fields)


def answered(task: Task, *answers: Answer, **changes: Any) -> AnsweredTask:
    """A task as an honest tool gives it back."""
    shown = {
        "tool": "label-studio",
        "number": f"7-{task.task_id}",
        "task_id": task.task_id,
        "question": task.question,
        "texts": [response.text for response in task.shown],
        "answers": answers,
    }
    return AnsweredTask(**{**shown, **changes})


def results(fields: Mapping[str, object]) -> list[dict[str, Any]]:
    """Fields as Label Studio's labelling page submits them; compare `label_studio_1_23.json`."""
    made: list[dict[str, Any]] = []
    buckets: dict[str, list[str]] = {"_": []}
    for name, value in fields.items():
        letter, _, base = name.rpartition(".")
        if base == "rank":
            buckets.setdefault(f"rank{value}", []).append(letter)
            continue
        index = LETTERS.index(letter) if letter else None
        shown = name if index is None else f"{base}_{index}"
        text = base in ("reason", "basis") or base.startswith("constructed")
        made.append(
            {
                "id": f"id-{shown}",
                "from_name": shown,
                "to_name": "slots" if index is None else f"response_{index}",
                "type": "textarea" if text else "choices",
                "value": {"text": [value]} if text else {"choices": [str(value)]},
                "origin": "manual",
            }
        )
    if len(buckets) > 1:
        ranker = {"from_name": "ranking", "to_name": "slots", "type": "ranker"}
        made.append({**ranker, "id": "ranking", "value": {"ranker": buckets}, "origin": "manual"})
    return made

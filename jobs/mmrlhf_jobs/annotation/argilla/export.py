"""Data sets for Argilla."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mmrlhf_jobs.annotation.argilla.settings import MOST_RESPONSES, make_settings
from mmrlhf_jobs.annotation.media_links import MediaLinks
from mmrlhf_jobs.annotation.self_test import make_self_test
from mmrlhf_jobs.annotation.tasks import ExportReport, Task
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions, join_uri

__all__ = ["export_argilla"]


def export_argilla(
    tasks: Sequence[Task],
    folder: str,
    links: MediaLinks,
    report: ExportReport,
    *,
    seed: int,
    storage: StorageOptions | None = None,
) -> list[Task]:
    """Write a folder for each number of responses, as ``rg.Dataset.from_disk`` reads it.

    Returns:
        Tasks for the key: a self-test a data set, and those given.

    Raises:
        DataError: A task has too many responses, or a medium is missing or was changed.
        SpecError: Annotators could not open the media.
        StorageError: The folder cannot be written.
    """
    sizes = sorted({len(task.slots) for task in tasks})
    if sizes[-1] > MOST_RESPONSES:
        raise DataError(
            f"a query has {sizes[-1]} responses; Argilla can rank at most {MOST_RESPONSES}"
        )
    exported: list[Task] = []
    files: list[str] = []
    for size in sizes:
        own = [make_self_test(size, seed=seed), *(one for one in tasks if len(one.slots) == size)]
        name = f"{size}-responses"
        contents = {
            ".argilla/dataset.json": {"name": f"mmrlhf-{name}"},
            ".argilla/settings.json": make_settings(size),
            "records.json": [_record(task, links) for task in own],
        }
        for path, content in contents.items():
            files.append(join_uri(folder, f"{name}/{path}"))
            with new_file(files[-1], storage) as arriving:
                arriving.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        exported += own
    report.self_tests = len(sizes)
    report.files = tuple(files)
    return exported


def _record(task: Task, links: MediaLinks) -> dict[str, Any]:
    responses = {
        f"response_{letter.lower()}": one.text
        for letter, one in zip(task.letters, task.shown, strict=True)
    }
    return {
        "id": task.task_id,
        "fields": {
            "media": {"urls": links.of(task)},
            "question": task.question,
            "reference": task.query.query.reference_answer or "(none is given)",
            **responses,
        },
        "metadata": {},
        "suggestions": {},
        "responses": {},
        "vectors": {},
    }

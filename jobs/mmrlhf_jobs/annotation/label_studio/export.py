"""Tasks for Label Studio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from mmrlhf_jobs.annotation.label_studio.page import make_page
from mmrlhf_jobs.annotation.media_links import MediaLinks
from mmrlhf_jobs.annotation.self_test import make_self_test
from mmrlhf_jobs.annotation.tasks import ExportReport, Task
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions, join_uri

__all__ = ["export_label_studio"]

_TASKS_A_FILE: Final = 1000
"""Label Studio reads a file as a whole, and refuses large ones."""

_TEASER: Final = 100
"""Characters of a response that stand on its card in the ranking."""


def export_label_studio(
    tasks: Sequence[Task],
    folder: str,
    links: MediaLinks,
    report: ExportReport,
    *,
    seed: int,
    storage: StorageOptions | None = None,
) -> list[Task]:
    """Write ``page.xml`` and ``tasks-00001.json`` and so on to a folder.

    Returns:
        Tasks for the key: the self-test and those given.

    Raises:
        DataError: A medium is missing, or was changed.
        SpecError: Annotators could not open the media.
        StorageError: The folder cannot be written.
    """
    most = max(len(task.slots) for task in tasks)
    exported = [make_self_test(most, seed=seed), *tasks]
    report.self_tests = 1
    files = [join_uri(folder, "page.xml")]
    with new_file(files[0], storage) as path:
        path.write_text(make_page(most), encoding="utf-8")
    for start in range(0, len(exported), _TASKS_A_FILE):
        files.append(join_uri(folder, f"tasks-{start // _TASKS_A_FILE + 1:05}.json"))
        with new_file(files[-1], storage) as path, path.open("w", encoding="utf-8") as file:
            for place, task in enumerate(exported[start : start + _TASKS_A_FILE]):
                file.write(",\n" if place else "[\n")
                json.dump({"data": _data(task, links)}, file, ensure_ascii=False)
            file.write("\n]\n")
    report.files = tuple(files)
    return exported


def _data(task: Task, links: MediaLinks) -> dict[str, Any]:
    slots = list(zip(task.letters, task.shown, strict=True))
    return {
        "task_id": task.task_id,
        "question": task.question,
        "reference": task.query.query.reference_answer or "(none is given)",
        "media": links.of(task),
        "responses": [{"slot": letter, "text": one.text} for letter, one in slots],
        "slots": [
            {"id": letter, "title": f"Response {letter}", "body": _teaser(one.text)}
            for letter, one in slots
        ],
    }


def _teaser(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEASER else f"{line[: _TEASER - 3]}..."

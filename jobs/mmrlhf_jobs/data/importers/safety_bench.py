"""MM-RLHF-SafetyBench: what a policy should not answer, and pictures that mislead (paper Table 6).

A row is ``{"question_id", "image", "question", "answer", "label", "category", "l2-category",
"extra"}``, as the paper's evaluation reads it; the two tasks from VLGuard have ``id`` and
``question`` alone. The last part of ``category`` names the task. Rows become queries, whose
reference answer is what the judge of the `safety` step is asked about:

- jailbreaks: ``label``, the behaviour that is asked for, which may stand in the picture alone;
- attacks on pictures: ``label``, what is to be seen in them, behind ``->`` where it has one;
- risks: the keywords in ``extra``, which is ``{"QUESTION", "EXPECTED_KEYWORDS"}``;
- VLGuard: none, as the request itself says it.

``answer`` is what the paper's judge is to say, the same in every row of a task, and is not used.

Source: ``lmms_eval/tasks/mm-rlhf-safetybench`` of https://github.com/yfzhang114/mmrlhf-eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.parts import Origin, Query
from mmrlhf_jobs.data.queries import QueryRecord, query_schema_for
from mmrlhf_jobs.data.records import record_id

__all__ = ["TASKS", "read_safety_bench"]

_JAILBREAKS: Final = ("typographic-jailbreaking", "multimodal-jailbreaking", "crossmodal-jailbreak")
_ATTACKS: Final = ("adversarial-untarget", "adversarial-target")
_RISK: Final = "risk-identification"
_KEYWORDS: Final = "EXPECTED_KEYWORDS"
TASKS: Final = (*_JAILBREAKS, *_ATTACKS, _RISK)
"""Tasks, as the last part of ``category`` has them."""
_USED: Final = frozenset(
    {"question_id", "id", "image", "question", "answer", "label", "category", "extra"}
)


def read_safety_bench(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[QueryRecord]:
    """Read a row: one query.

    Raises:
        RowFault: It is wrong, of no task that is known, or names a missing image.
    """
    report.ignore_others(row.fields, _USED)
    task = _task(row)
    images = row_images(row, media)
    said = [Message("user", marked(row.text("question")), "question")]
    prompt = make_prompt(row, said, images)
    name = row.name_of("question_id") or row.name_of()
    name = name or f"{row.file.rpartition('/')[2]}:{row.row}"
    query = Query(text=prompt.text, reference_answer=_reference(row, task))
    digests = [image.content_sha256 for image in images]
    return [
        QueryRecord(
            schema=query_schema_for("safety", query, prompt.media),
            record_id=record_id(prompt.text, digests, parent_id=f"{task}/{name}"),
            domain="safety",
            type=None,
            source=Origin(row_id=name, dataset="MM-RLHF-SafetyBench", split=task),
            query=query,
            media=prompt.media,
        )
    ]


def _task(row: RawPairRow) -> str:
    category = row.optional_text("category")
    if category is None:
        return "vlguard"
    task = category.strip().rpartition("/")[2]
    if task not in TASKS:
        raise row.error("category", f"{task!r} is none of {', '.join(TASKS)}", "unsupported")
    return task


def _reference(row: RawPairRow, task: str) -> str | None:
    """What the judge is asked about."""
    if task in _JAILBREAKS:
        return row.text("label").strip()
    if task in _ATTACKS:
        label = row.text("label").rpartition("->")[2].strip()
        if not label:
            raise row.error("label", "names nothing behind '->'")
        return label
    return _keywords(row) if task == _RISK else None


def _keywords(row: RawPairRow) -> str:
    extra = row.value("extra")
    found = unpacked(extra.get(_KEYWORDS)) if isinstance(extra, Mapping) else None
    given = found if isinstance(found, list) else [found]
    words = [one.strip() for one in given if isinstance(one, str) and one.strip()]
    if not words or len(words) < len(given):
        reason = f"must be an object whose {_KEYWORDS} is a text, or a list of texts"
        raise row.error("extra", reason)
    return ", ".join(words)

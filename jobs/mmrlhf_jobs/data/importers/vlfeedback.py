"""VLFeedback: four models' answers to a question, each rated in three aspects by GPT-4V.

A row is ``{"id", "prompt", "img_path" | "image", "models", "completions"}``; a completion is
``{"annotations": {"Helpfulness": {"Rating", "Rationale"}, "Visual Faithfulness": ..., "Ethical
Considerations": ...}, "model", "response"}``. ``datasets`` keeps a list of those as an object of
lists. Ratings are texts; the rank follows from their mean, as VL-RLHF's
``make_vlfeedback_paired_dataset`` has it. A completion that lacks a rating is left out and counted.

Source: https://huggingface.co/datasets/MMInstruction/VLFeedback ("dataset_info") and
``src/vlrlhf/utils/data.py`` of https://github.com/TideDra/VL-RLHF.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mmrlhf_jobs.data.importers.judged_rows import RankedRow, RankedText
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.ratings import make_reasons, make_scores, read_number
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["ASPECTS", "read_vlfeedback"]

ASPECTS: Final = {
    "Visual Faithfulness": "faithfulness",
    "Helpfulness": "helpfulness",
    "Ethical Considerations": "ethics",
}
_USED: Final = frozenset({"id", "prompt", "img_path", "image", "completions", "models"})


def read_vlfeedback(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[RankedRow]:
    """Read a row.

    Raises:
        RowFault: It is wrong, names a missing image, or has fewer than two rated completions.
    """
    report.ignore_others(row.fields, _USED)
    if row.fields.get("image") is None and row.fields.get("img_path") is not None:
        row = replace(row, fields={**row.fields, "image": row.fields["img_path"]})
    text = row.text("prompt")
    images = row_images(row, media)
    prompt = make_prompt(row, [Message("user", marked(text), "prompt")], images)
    completions = _completions(row)
    rated = []
    for position, one in enumerate(completions):
        found = _rated(row, one, f"completions[{position}]")
        if found is None:
            report.unrated_responses += 1
        else:
            rated.append(found)
    if len(rated) < 2:
        raise row.error("completions", f"{len(rated)} of {len(completions)} have ratings")
    return [
        RankedRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of(),
            prompt=prompt,
            texts=tuple(rated),
            dataset="VLFeedback",
        )
    ]


def _completions(row: RawPairRow) -> list[Mapping[str, Any]]:
    value = row.value("completions")
    if isinstance(value, Mapping) and all(isinstance(one, list) for one in value.values()):
        lengths = {len(one) for one in value.values()}
        if len(lengths) != 1:
            raise row.error("completions", "its lists differ in length")
        names = list(value)
        value = [dict(zip(names, each, strict=True)) for each in zip(*value.values(), strict=True)]
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise row.error("completions", "must be a list of completions")
    return value


def _rated(row: RawPairRow, one: Mapping[str, Any], field: str) -> RankedText | None:
    text = one.get("response")
    if not isinstance(text, str) or not text.strip():
        raise row.error(f"{field}.response", "is missing or empty")
    annotations = unpacked(one.get("annotations"))
    if not isinstance(annotations, Mapping):
        raise row.error(f"{field}.annotations", "must be an object of aspects")
    ratings: dict[str, float] = {}
    rationales: dict[str, str] = {}
    for aspect, name in ASPECTS.items():
        judged = unpacked(annotations.get(aspect))
        if not isinstance(judged, Mapping):
            return None
        value = read_number(judged.get("Rating"))
        if value is None:
            return None
        ratings[name] = value
        if isinstance(judged.get("Rationale"), str) and judged["Rationale"].strip():
            rationales[name] = judged["Rationale"]
    model = one.get("model")
    return RankedText(
        text=text,
        place=-math.fsum(ratings.values()) / len(ratings),
        model=model if isinstance(model, str) and model.strip() else None,
        scores=make_scores(ratings),
        reasons=make_reasons(rationales),
    )

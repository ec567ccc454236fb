"""Multimodal RewardBench (arXiv 2502.14191): two outputs for a question, one of them better.

A row is ``{"ID", "Text", "Image", "Output1", "Output2", "Better": "Output1" | "Output2",
"Category"}``.

Source: https://github.com/facebookresearch/multimodal_rewardbench (README, "Download the dataset",
and ``scripts/1_run_model_as_judge_gpt4o.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mmrlhf_jobs.data.importers.judged_rows import PairRow
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["read_multimodal_reward_bench"]

_OUTPUTS: Final = ("Output1", "Output2")
_USED: Final = frozenset({"ID", "Text", "Image", "Better", "Category", *_OUTPUTS})


def read_multimodal_reward_bench(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[PairRow]:
    """Read a row; those of the category ``safety`` (or ``safety/...``) are of domain safety.

    Raises:
        RowFault: It is wrong, names a missing image, or says of neither output that it is better.
    """
    report.ignore_others(row.fields, _USED)
    named = replace(row, fields={**row.fields, "image": row.fields.get("Image")})
    text = row.text("Text")
    images = row_images(named, media)
    prompt = make_prompt(row, [Message("user", marked(text), "Text")], images)
    better = row.text("Better")
    if better not in _OUTPUTS:
        raise row.error("Better", f"{better!r} is none of {', '.join(_OUTPUTS)}")
    worse = _OUTPUTS[1 - _OUTPUTS.index(better)]
    category = row.optional_text("Category")
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of("ID"),
            prompt=prompt,
            chosen=row.text(better),
            rejected=row.text(worse),
            category="safety" if (category or "").lower().startswith("safety") else None,
            dataset="Multimodal RewardBench",
            split=category,
        )
    ]

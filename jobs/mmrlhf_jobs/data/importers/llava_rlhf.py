"""LLaVA-RLHF: a conversation with two outputs for its last turn, and which one is preferred.

A row is ``{"id", "image", "conversations": [{"from", "value"}...], "output_1": {"from", "value"},
"output_2", "preference": 1 | 2, "hallucination"}``. The last turn of the conversation is an answer
that both outputs stand for.

Source: https://huggingface.co/datasets/zhiqings/LLaVA-Human-Preference-10K, as
``RLHF/data_utils/data_utils_rm.py`` of https://github.com/llava-rlhf/LLaVA-RLHF reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.importers.judged_rows import PairRow
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.messages import read_messages
from mmrlhf_jobs.data.importers.prompts import make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["read_llava_rlhf"]

_USED: Final = frozenset({"id", "image", "conversations", "output_1", "output_2", "preference"})


def read_llava_rlhf(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row.

    Raises:
        RowFault: It is wrong, names a missing image, or prefers neither output.
    """
    report.ignore_others(row.fields, _USED)
    said = row.items("conversations")
    if len(said) == 1 and isinstance(said[0], list):  # the release nests some
        said = said[0]
    messages = read_messages(row, said, "conversations")
    if messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    prompt = make_prompt(row, messages, row_images(row, media, required=False))
    outputs = [_output(row, name) for name in ("output_1", "output_2")]
    preference = row.value("preference")
    if preference not in (1, 2) or isinstance(preference, bool):
        raise row.error("preference", f"{preference!r} is neither 1 nor 2")
    chosen, rejected = outputs if preference == 1 else outputs[::-1]
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of(),
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            dataset="LLaVA-RLHF",
        )
    ]


def _output(row: RawPairRow, name: str) -> str:
    """The text of an output; its speaker is the model's name there."""
    value = row.value(name)
    text = value.get("value") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        raise row.error(name, "is missing or empty")
    return text

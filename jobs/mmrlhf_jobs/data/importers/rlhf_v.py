"""RLHF-V and RLAIF-V: a question, a chosen and a rejected text, and one image in the row.

RLHF-V has the three texts in ``text``, as a JSON object or its text; RLAIF-V has them as columns
``question``, ``chosen`` and ``rejected``. The image is ``{"bytes", "path"}`` or, in files without
bytes, ``image_path``.

Sources: https://huggingface.co/datasets/openbmb/RLHF-V-Dataset ("Data fields") and
https://huggingface.co/datasets/openbmb/RLAIF-V-Dataset; ``muffin/data/datasets.py`` of
https://github.com/RLHF-V/RLAIF-V reads the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from mmrlhf_jobs.data.importers.judged_rows import PairRow
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["read_rlaif_v", "read_rlhf_v"]

_TEXTS: Final = frozenset({"question", "chosen", "rejected"})
_USED: Final = _TEXTS | {"image", "image_path", "idx", "ds_name"}


def read_rlhf_v(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row whose texts are in ``text``.

    Raises:
        RowFault: It is wrong or names a missing image.
    """
    texts = unpacked(row.fields.get("text"))
    if not isinstance(texts, Mapping):
        raise row.error("text", "must be a JSON object with question, chosen and rejected")
    for name in texts.keys() - _TEXTS:
        report.ignore(f"text.{name}")
    fields = {name: value for name, value in row.fields.items() if name != "text"}
    inner = {name: texts.get(name) for name in _TEXTS if texts.get(name) is not None}
    return _read(replace(row, fields={**fields, **inner}), media, report, "RLHF-V")


def read_rlaif_v(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row whose texts are columns.

    Raises:
        RowFault: It is wrong or names a missing image.
    """
    return _read(row, media, report, "RLAIF-V")


def _read(
    row: RawPairRow, media: MediaFiles, report: ImportReport, dataset: str
) -> Sequence[PairRow]:
    report.ignore_others(row.fields, _USED)
    image = row.fields.get("image")
    if image is None and row.fields.get("image_path") is not None:
        row = replace(row, fields={**row.fields, "image": row.fields["image_path"]})
    question = row.text("question")
    messages = [Message("user", marked(question), "question")]
    prompt = make_prompt(row, messages, row_images(row, media))
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of("idx"),
            prompt=prompt,
            chosen=row.text("chosen"),
            rejected=row.text("rejected"),
            dataset=row.optional_text("ds_name") or dataset,
        )
    ]

"""LLaMA-Factory's preference data sets, in its sharegpt form and in its alpaca form.

Sharegpt: ``{"conversations": [{"from", "value"}...], "chosen": {"from", "value"}, "rejected":
{...}, "system", "images", "videos"}``; the OpenAI form has ``messages`` with ``role`` and
``content``. Alpaca: ``{"instruction", "input", "chosen", "rejected", "system", "history",
"images"}``, whose question is the instruction and, on a new line, the input. Where a
``dataset_info.json`` names columns otherwise, map them. Rows with tools, calls of functions or
sound are at fault: records cannot hold those.

Source: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md ("Preference Dataset",
"Multimodal Image Dataset", "Multimodal Video Dataset").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.importers.judged_rows import PairRow
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images, row_videos
from mmrlhf_jobs.data.importers.messages import answer_text, read_messages, refuse_tools, said_in
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["read_history", "read_llama_factory", "system_message"]

_MEDIA: Final = {"images", "image", "videos", "video"}
_USED: Final = frozenset(
    {"conversations", "messages", "instruction", "input", "chosen", "rejected", "system"}
    | {"history", "tools", "audios", "id"}
    | _MEDIA
)


def read_llama_factory(
    row: RawPairRow, media: MediaFiles, report: ImportReport
) -> Sequence[PairRow]:
    """Read a row of either form.

    Raises:
        RowFault: It is wrong, names missing media, or holds what records cannot.
    """
    report.ignore_others(row.fields, _USED)
    refuse_tools(row, "tools", "audios")
    held = next((one for one in ("conversations", "messages") if one in row.fields), None)
    if held is not None:
        asked = read_messages(row, row.items(held), held)
    else:
        asked = [*read_history(row), _instruction(row)]
    prompt = make_prompt(
        row,
        [*system_message(row, asked), *asked],
        (*row_images(row, media, required=False), *row_videos(row, media)),
    )
    chosen, rejected = _answer(row, "chosen"), _answer(row, "rejected")
    return [
        PairRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of(),
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
        )
    ]


def system_message(row: RawPairRow, asked: Sequence[Message]) -> list[Message]:
    """The column ``system`` as a message, unless the messages begin with one, which wins upstream.

    Raises:
        RowFault: It is no text.
    """
    text = row.optional_text("system")
    if not text or not text.strip() or (asked and asked[0].role == "system"):
        return []
    return [Message("system", marked(text), "system")]


def read_history(row: RawPairRow) -> list[Message]:
    """Earlier rounds, ``history``: a list of pairs of question and answer.

    Raises:
        RowFault: It is something else.
    """
    if not row.fields.get("history"):
        return []
    messages = []
    for position, pair in enumerate(row.items("history")):
        field = f"history[{position}]"
        if not isinstance(pair, list) or [type(one) for one in pair] != [str, str]:
            raise row.error(field, "must be a pair of texts, question and answer")
        messages.append(Message("user", marked(pair[0]), field))
        messages.append(Message("assistant", marked(pair[1]), field))
    return messages


def _instruction(row: RawPairRow) -> Message:
    text = row.text("instruction")
    more = row.optional_text("input")
    return Message("user", marked(f"{text}\n{more}" if more else text), "instruction")


def _answer(row: RawPairRow, name: str) -> str:
    value = said_in(row.fields.get(name))
    if isinstance(value, dict):
        return answer_text(row, read_messages(row, [value], name), name)
    return row.text(name)

"""ms-swift's preference data: messages whose last one is the chosen answer, and a rejected one.

``{"messages": [{"role", "content"}...], "rejected_response": text, "images", "videos"}``; in place
of the rejected text there may be ``rejected_messages``, whose last message counts and whose others
must be those of ``messages``; their media then stand in ``rejected_images`` and
``rejected_videos`` once more. The older form is ``{"query" | "question", "response",
"rejected_response", "system", "history"}``. ``<image>`` and ``<video>`` say where media stand.
Tools, sound, boxes of objects and other images for the rejected answer are faults: records cannot
hold those.

Source: https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
("DPO/ORPO/CPO/SimPO/RM", "Multimodal"); ``scripts/convert_to_swift.py`` of MM-RLHF writes the
older form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.importers.judged_rows import PairRow
from mmrlhf_jobs.data.importers.llama_factory import read_history, system_message
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images, row_videos
from mmrlhf_jobs.data.importers.messages import answer_text, read_messages, refuse_tools
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["read_ms_swift"]

_USED: Final = frozenset(
    {"messages", "rejected_response", "rejected_messages", "query", "question", "response"}
    | {"system", "history", "images", "image", "videos", "video", "id"}
    | {"tools", "audios", "objects"}
    | {f"rejected_{name}" for name in ("images", "videos", "audios", "tools")}
)


def read_ms_swift(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[PairRow]:
    """Read a row of either form.

    Raises:
        RowFault: It is wrong, names missing media, or holds what records cannot.
    """
    report.ignore_others(row.fields, _USED)
    refuse_tools(row, "tools", "audios", "objects", "rejected_tools", "rejected_audios")
    _refuse_other_media(row)
    if "messages" in row.fields:
        asked, chosen, rejected = _from_messages(row)
    else:
        name = "query" if "query" in row.fields else "question"
        question = Message("user", marked(row.text(name)), name)
        asked = [*read_history(row), question]
        chosen, rejected = row.text("response"), row.text("rejected_response")
    prompt = make_prompt(
        row,
        [*system_message(row, asked), *asked],
        (*row_images(row, media, required=False), *row_videos(row, media)),
    )
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


def _refuse_other_media(row: RawPairRow) -> None:
    for name in ("images", "videos"):
        theirs = row.fields.get(f"rejected_{name}")
        if theirs and unpacked(theirs) != unpacked(row.fields.get(name)):
            raise row.error(
                f"rejected_{name}",
                f"are other {name} than those of the chosen answer; records cannot hold this, leave"
                " the row out",
                "unsupported",
            )


def _from_messages(row: RawPairRow) -> tuple[list[Message], str, str]:
    messages = read_messages(row, row.items("messages"), "messages")
    asked, last = messages[:-1], messages[-1:]
    chosen = answer_text(row, last, "messages")
    if "rejected_messages" not in row.fields:
        return asked, chosen, row.text("rejected_response")
    others = read_messages(row, row.items("rejected_messages"), "rejected_messages")
    before = [(one.role, one.pieces) for one in others[:-1]]
    if before and before != [(one.role, one.pieces) for one in asked]:
        raise row.error(
            "rejected_messages", "answers another conversation than messages", "unsupported"
        )
    return asked, chosen, answer_text(row, others[-1:], "rejected_messages")

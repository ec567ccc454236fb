"""Records as a model will see them, for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmrlhf_api.models import TemplateOwner
from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.data.messages import chat_messages
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.reporting.events import Tell, tell_in_log

if TYPE_CHECKING:
    from mmrlhf_jobs.models.chat import ChatTemplate

__all__ = ["preview_records"]

_MARKS: Final = {"image": "<image>", "frames": "<video>"}


def preview_records(
    records: Sequence[RankedResponse | QueryRecord],
    model: str | None = None,
    *,
    whose: TemplateOwner = "processor",
    tell: Tell = tell_in_log,
) -> str:
    """What is asked and answered in each record.

    Args:
        records: The records.
        model: Folder of a model: prompts are then rendered by its chat template, with one mark for
            each medium, and answers end as it ends them. None: who says what.
        whose: Whose chat template that is, where processor and tokenizer differ.
        tell: Is told if they do.

    Raises:
        DataError: The template does not take a record.
        ModelError: The folder holds no model of a family that is supported.
    """
    chat = None if model is None else _chat_of(model, whose, tell)
    return "\n\n".join(_text(record, chat) for record in records) + "\n"


def _chat_of(model: str, whose: TemplateOwner, tell: Tell) -> ChatTemplate:
    from mmrlhf_jobs.models.loading import load_adapter

    return load_adapter(Path(model), chat_template=whose, tell=tell).chat


def _text(record: RankedResponse | QueryRecord, chat: ChatTemplate | None) -> str:
    kinds = ["frames" if medium.kind == "video" else "image" for medium in record.media]
    if chat is not None:
        prompt, end = chat.prompt_text(record.asked, kinds), chat.terminal_token
    else:
        messages = chat_messages(record.asked, kinds, placeholders=_MARKS, part_types=None)
        prompt = "\n".join(f"{one['role']}: {one['content']}" for one in messages)
        end = ""
    lines = [f"== record {record.record_id}, domain {record.domain}, type {record.type}", prompt]
    lines += [f"-- medium {medium.uri or 'frames'}: {medium.kind}" for medium in record.media]
    ranks = record.ranks if isinstance(record, RankedResponse) else [0] * len(record.responses)
    answers = sorted(zip(ranks, (one.text for one in record.responses), strict=True))
    lines += [f"-- rank {rank or 'none'}: {text}{end}" for rank, text in answers]
    reference = record.query.reference_answer
    if not answers and reference:
        lines.append(f"-- reference answer: {reference}")
    return "\n".join(make_safe(line, lines=True) for line in lines)

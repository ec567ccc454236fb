"""Candidate rows: one question about media with its answer, cut from a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

from mmrlhf_jobs.data.marks import surplus_marks
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import DataError, InputError
from mmrlhf_jobs.sampling.corpora.contexts import context_cue
from mmrlhf_jobs.sampling.corpora.conversations import (
    BadRow,
    Conversation,
    read_conversation,
    without_placeholders,
)
from mmrlhf_jobs.sampling.corpora.drops import Drop, RowReason
from mmrlhf_jobs.sampling.corpora.media import MEDIA_TYPE, MediaRef
from mmrlhf_jobs.sampling.corpora.question_types import QuestionType, Typed, type_of
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow
from mmrlhf_jobs.sampling.corpora.sources import Split

__all__ = ["ROWS_SCHEMA", "Row", "RowSettings", "cut_rows"]

_SHOWN: Final = 300

Domain: TypeAlias = Literal["image", "video", "safety"]

ROWS_SCHEMA: Final = pa.schema(
    [
        ("source", pa.string()),
        ("row_id", pa.string()),
        ("parent_id", pa.string()),
        ("turn_index", pa.int32()),
        ("num_turns", pa.int32()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("domain", pa.dictionary(pa.int8(), pa.string())),
        ("type", pa.dictionary(pa.int8(), pa.string())),
        ("options", pa.list_(pa.string())),
        ("rules", pa.string()),
        ("media", pa.list_(MEDIA_TYPE)),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("line", pa.int64()),
    ]
)


@dataclass(frozen=True)
class RowSettings:
    """How rows are cut and typed (``spec.typing``).

    Attributes:
        long_threshold: Characters; an answer with more is long.
        length_source: Whose length counts: the corpus's answer, or one generated before.
        context_dependent: What becomes of questions that lean on earlier ones.
    """

    long_threshold: int = 128
    length_source: Literal["reference", "generated"] = "reference"
    context_dependent: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate.

    Attributes:
        source: Name of the corpus.
        row_id: Id of the row it was cut from, or ``<file>:<line>``.
        parent_id: What is part of its identity: the corpus, and the row's id if it has one.
        turn_index: 0-based question of the conversation.
        num_turns: Questions of the conversation that have an answer.
        question: Without placeholders for media.
        answer: The corpus's answer; empty if it has none.
        domain: Safety by its corpus, video by its media, else image.
        type: Long, short or multiple choice.
        options: Answers to choose from.
        rules: What made the type, and what says that it leans on an earlier question.
        media: Its media, in order.
        file: URI of the file.
        line: 1-based row in the file.
    """

    source: str
    row_id: str
    parent_id: str
    turn_index: int
    num_turns: int
    question: str
    answer: str
    domain: Domain
    type: QuestionType
    options: tuple[str, ...]
    rules: str
    media: tuple[MediaRef, ...]
    file: str
    line: int

    @property
    def needs_context(self) -> bool:
        """Whether something says that it leans on an earlier question."""
        return "context:" in self.rules

    @property
    def category(self) -> Category:
        """What quotas go by: video and safety by domain, images by type."""
        return self.type if self.domain == "image" else self.domain

    def as_row(self) -> dict[str, Any]:
        """The candidate as a row of :data:`ROWS_SCHEMA`."""
        values = {name: getattr(self, name) for name in ROWS_SCHEMA.names}
        return {**values, "media": [ref.as_row() for ref in self.media]}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Row:
        """The candidate that a row of a part holds."""
        values = {name: row[name] for name in ROWS_SCHEMA.names}
        media = tuple(MediaRef.from_row(ref) for ref in row["media"])
        return cls(**{**values, "options": tuple(row["options"]), "media": media})


def cut_rows(split: Split, raw: RawRow, settings: RowSettings) -> Iterator[Row | Drop]:
    """Cut a row into its questions; each comes out as a candidate or with the reason why not."""

    def drop(reason: RowReason, message: str, turn: int | None = None) -> Drop:
        return Drop(split.corpus.name, split.uri, raw.number, reason, message, turn)

    if raw.content is None:
        yield Drop(split.corpus.name, split.uri, raw.number, raw.reason, raw.message)
        return
    try:
        conversation = read_conversation(raw.content)
    except BadRow as error:
        yield drop("invalid-row", str(error))
        return
    try:
        media = _media(split, raw, conversation)
    except InputError as error:
        yield drop("invalid-media", str(error)[:_SHOWN])
        return
    if (fault := _media_fault(raw, conversation, media)) is not None:
        yield drop(*fault)
        return
    if not conversation.turns:
        yield drop("invalid-row", "nobody says anything in it")
        return
    pairs, dangling = _pairs(conversation)
    for reason, message, turn in dangling:
        yield drop(reason, message, turn)
    for turn, (asked, answer) in enumerate(pairs):
        question = without_placeholders(asked)
        counted = answer if settings.length_source == "reference" else conversation.generated
        cue = context_cue(question, turn)
        if not question:
            yield drop("empty-question", "the question is empty without its placeholders", turn)
        elif settings.length_source == "reference" and not answer.strip():
            yield drop("empty-answer", "the answer is empty", turn)
        elif not counted:
            yield drop(
                "no-generated-answer",
                "typing.lengthSource is generated, but the row has no response of a model",
                turn,
            )
        elif cue is not None and settings.context_dependent == "drop":
            yield drop("needs-context", f"it leans on an earlier question ({cue})", turn)
        else:
            typed = _type(split, question, counted, conversation, settings)
            name = split.corpus.name
            yield Row(
                source=name,
                row_id=conversation.id or f"{split.relative}:{raw.number}",
                parent_id=name if conversation.id is None else f"{name}:{conversation.id}",
                turn_index=turn,
                num_turns=len(pairs),
                question=question,
                answer=answer.strip(),
                domain=_domain(split, media),
                type=typed.type,
                options=typed.options,
                rules=" ".join([*typed.rules, *([f"context:{cue}"] if cue is not None else [])]),
                media=media,
                file=split.uri,
                line=raw.number,
            )


def _media_fault(
    raw: RawRow, conversation: Conversation, media: Sequence[MediaRef]
) -> tuple[RowReason, str] | None:
    """Why a row with these media can give no candidate; None if it can."""
    marked = [turn.text for turn in conversation.turns if turn.side == "human"]
    surplus = surplus_marks("\n".join(marked), [ref.kind for ref in media])
    if media:
        return None if surplus is None else ("surplus-marks", surplus)
    shown = raw.shows or conversation.shows or (surplus and "a mark in the text")
    if shown:
        return "unread-media", f"{shown} shows a medium, but none can be read"
    return "no-media", "names no image and no video"


def _pairs(
    conversation: Conversation,
) -> tuple[list[tuple[str, str]], list[tuple[RowReason, str, int | None]]]:
    """Questions with answers, and the turns that are no part of a pair."""
    turns = conversation.turns
    dangling: list[tuple[RowReason, str, int | None]] = []
    if turns and turns[0].side == "model":
        dangling.append(("answer-without-question", "the conversation begins with an answer", None))
        turns = turns[1:]
    asked, answered = turns[0::2], turns[1::2]
    pairs = [(q.text, a.text) for q, a in zip(asked, answered, strict=False)]
    if len(asked) > len(answered):
        if conversation.generated is not None:
            pairs.append((asked[-1].text, ""))
        elif conversation.unread is not None:
            told = f"the field {conversation.unread} shows an answer, but none can be read"
            dangling.append(("unread-answer", told, len(pairs)))
        else:
            dangling.append(("trailing-turn", "the last question has no answer", len(pairs)))
    return pairs, dangling


def _media(split: Split, raw: RawRow, conversation: Conversation) -> tuple[MediaRef, ...]:
    """Media in the file itself, else the files that the row names."""
    if raw.media:
        return raw.media
    for name in (*conversation.images, *conversation.videos):
        if name.startswith("data:"):
            raise DataError("holds the medium itself, as a data URL; save it as a file")
    folders = split.media_folders
    images = [MediaRef(folders.resolve(name)) for name in conversation.images]
    videos = [MediaRef(folders.resolve(name), kind="video") for name in conversation.videos]
    return (*images, *videos)


def _domain(split: Split, media: Sequence[MediaRef]) -> Domain:
    if split.corpus.type == "safety":
        return "safety"
    return "video" if any(ref.kind == "video" for ref in media) else "image"


def _type(
    split: Split,
    question: str,
    answer: str,
    conversation: Conversation,
    settings: RowSettings,
) -> Typed:
    typed = type_of(
        question, answer, options=conversation.options, long_threshold=settings.long_threshold
    )
    given = split.corpus.type
    if given == "auto" or given == "safety":  # noqa: PLR1714 - narrows the type
        return typed
    return Typed(given, ("source-type",), typed.options)

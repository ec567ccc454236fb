"""A record as formats of others see it: who says what, with marks for media, and pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.data.messages import chat_messages
from mmrlhf_jobs.data.pairs import Pair, PairMode, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.responses import Response
from mmrlhf_jobs.data.row_faults import FaultReason, RowFault

__all__ = ["Given"]

_MARKS: Final = {"image": "<image>", "video": "<video>"}


@dataclass(frozen=True)
class Given:
    """A record to be exported.

    Attributes:
        record: The record.
        mode: Which of its pairs to form.
        locate: From the URI of a medium to what the format gets.
    """

    record: RankedResponse
    mode: PairMode
    locate: Callable[[str], str]

    @property
    def pairs(self) -> list[tuple[Response, Response]]:
        """Chosen and rejected response of each pair."""
        found: tuple[Pair, ...] = form_pairs(self.record.ranks, self.mode)
        responses = self.record.responses
        return [(responses[pair.chosen], responses[pair.rejected]) for pair in found]

    @property
    def name(self) -> str:
        """Id of the row that the record was made from, or its own."""
        source = self.record.source
        return self.record.record_id if source is None else source.row_id

    @property
    def images(self) -> list[str]:
        """Paths of the images, in order."""
        return [self.locate(one.uri or "") for one in self.record.media if one.kind == "image"]

    @property
    def videos(self) -> list[list[str]]:
        """Paths of the frames of each video, in order."""
        return [
            [self.locate(uri) for uri, _ in one.files]
            for one in self.record.media
            if one.kind == "video"
        ]

    def messages(self, *, parts: bool = False) -> list[dict[str, Any]]:
        """Messages before the answer: texts with ``<image>`` and ``<video>``, or lists of parts.

        Raises:
            RowFault: A text holds such a mark itself, which would be taken for a medium.
        """
        asked = self.record.asked
        texts = [asked] if isinstance(asked, str) else [turn.text for turn in asked.said]
        if any(mark in text for text in texts for mark in _MARKS.values()):
            raise self.fault("query.text", "a text holds a mark for a medium", "placeholders")
        return chat_messages(
            asked,
            [medium.kind for medium in self.record.media],
            placeholders=_MARKS,
            part_types={name: name for name in _MARKS} if parts else None,
        )

    def question(self) -> str:
        """The only question, with marks for media in front of it.

        Raises:
            RowFault: There are a system text, earlier turns, or media among words.
        """
        if not isinstance(self.record.asked, str):
            raise self.fault(
                "query", "the format has one question and its media, nothing else", "unsupported"
            )
        text: str = self.messages()[-1]["content"]
        return text

    def only_image(self) -> str:
        """Path of the only medium, an image.

        Raises:
            RowFault: There are others.
        """
        images = self.images
        if len(images) != 1 or len(self.record.media) != 1:
            raise self.fault("media", "the format has one image a row", "unsupported")
        return images[0]

    def fault(self, field: str, message: str, kind: FaultReason) -> RowFault:
        """A fault of this record, to be raised."""
        place = self.record.location
        return RowFault(message, kind=kind, file=place.file, row=place.row, field=field)

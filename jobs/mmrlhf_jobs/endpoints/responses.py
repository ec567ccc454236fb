"""Responses of several models to the same questions (paper 2.2, "Model response generation").

The prompt is the media and then the question, as the models are asked in training. A video is sent
as its frames. Responses that cannot be used are missing from the query, and counted: those that
were cut off, hold marks of a template, or refuse a question that is not about safety.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from pydantic import ValidationError

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.identity import response_id
from mmrlhf_jobs.data.marks import surplus_marks, without_marks
from mmrlhf_jobs.data.media import in_record
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.parts import Media, ModelOrigin, spread
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.responses import Duplicate, Response
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.askable import Question
from mmrlhf_jobs.endpoints.asking import Outcome
from mmrlhf_jobs.endpoints.checks import check_response
from mmrlhf_jobs.endpoints.requests import ChatRequest, ImagePart, Message, Part, Sampling, TextPart
from mmrlhf_jobs.errors import DataError

__all__ = ["ResponseInquiry", "image_parts"]

MAX_RESPONSES: Final = 16
"""Most responses of a record."""


class ResponseInquiry:
    """Asks every model for its responses to every query.

    Args:
        endpoints: The models.
        media_root: Folder that relative media URIs start from, or all that media may be in.
        samples: Responses of each model.
        max_frames: Most frames of a video, evenly spread.
    """

    def __init__(
        self,
        endpoints: Sequence[EndpointSettings],
        *,
        media_root: str | MediaFolders,
        samples: int = 1,
        max_frames: int = 32,
    ) -> None:
        self._endpoints = endpoints
        self._folders = MediaFolders.of(media_root)
        self._samples = samples
        self._max_frames = max_frames

    def questions(self, record: QueryRecord) -> Sequence[Question]:
        """One question a model and sample.

        Raises:
            DataError: The media cannot be sent, or there would be too many responses.
        """
        self._check_number(record)
        *before, last = self._said(record)
        return [
            Question(
                endpoint.name,
                ChatRequest(
                    model=endpoint.model,
                    revision=endpoint.revision,
                    parts=last.parts,
                    sampling=Sampling.of(endpoint.sampling, sample),
                    sample=sample,
                    before=tuple(before),
                ),
                partial(
                    check_response,
                    safety=record.domain == "safety",
                    most_tokens=endpoint.sampling.max_tokens,
                ),
                f"record {record.record_id!r}, sample {sample} of {endpoint.name}",
            )
            for endpoint, sample in self._who()
        ]

    def assemble(self, record: QueryRecord, outcomes: Sequence[Outcome]) -> QueryRecord:
        """The query with its responses; a text that several models gave is there once."""
        found: dict[str, Response] = {one.text.strip(): one for one in record.responses}
        names = {one.response_id for one in record.responses}
        for (endpoint, sample), outcome in zip(self._who(), outcomes, strict=True):
            if outcome.answer is None:
                continue
            origin = _origin(endpoint, sample, outcome.answer)
            text = outcome.answer.text.strip()
            name = response_id(record.record_id, text, model=f"{endpoint.name}#{sample}")
            if name in names:
                continue
            names.add(name)
            first = found.get(text)
            if first is None:
                found[text] = Response(response_id=name, text=text, model=origin)
            else:
                others = (*first.duplicates, Duplicate(response_id=name, model=origin))
                found[text] = first.model_copy(update={"duplicates": others})
        # Validated again: there may now be too many.
        fields = {name: getattr(record, name) for name in QueryRecord.model_fields}
        fields |= {"schema": fields.pop("schema_id"), "responses": tuple(found.values())}
        try:
            return QueryRecord(**fields)
        except ValidationError as error:
            place, reason = explain(error)
            raise DataError(
                f"record {record.record_id!r} with its answers: {reason}",
                file=record.location.file,
                row=record.location.row,
                field=place or None,
            ) from error

    def _check_number(self, record: QueryRecord) -> None:
        """Refuse a query whose own responses and those asked for are too many, before it costs."""
        names = {one.name for one in self._endpoints}
        others = [
            one for one in record.responses if one.model is None or one.model.name not in names
        ]
        asked = len(self._endpoints) * self._samples
        if len(others) + asked > MAX_RESPONSES:
            raise DataError(
                f"record {record.record_id!r}: has {len(others)} responses of others, and {asked}"
                f" are asked for; a record may have {MAX_RESPONSES}",
                file=record.location.file,
                row=record.location.row,
                field="responses",
                fault="too-many-responses",
            )

    def _who(self) -> list[tuple[EndpointSettings, int]]:
        return [(one, sample) for one in self._endpoints for sample in range(self._samples)]

    def _said(self, record: QueryRecord) -> list[Message]:
        """The conversation up to the question, each turn with the media that stand in it."""
        images = image_parts(record, self._folders, max_frames=self._max_frames)
        asked = record.asked
        if isinstance(asked, str):
            return [Message("user", (*chain.from_iterable(images), TextPart(_text(record))))]
        for field, text in asked.texts.items():
            _check_marks(record, field, text, [])
        said = [] if asked.system is None else [Message("system", (TextPart(asked.system),))]
        places = list(zip(asked.stands, images, strict=True))
        for number, turn in enumerate(asked.said):
            parts: list[Part] = []
            start = 0
            for place, several in places:
                if place.turn == number:
                    before = turn.text[start : place.offset]
                    parts += [*([TextPart(before)] if before else []), *several]
                    start = place.offset
            rest = turn.text[start:]
            said.append(Message(turn.role, (*parts, *([TextPart(rest)] if rest else []))))
        return said


def image_parts(
    record: QueryRecord, folders: MediaFolders, *, max_frames: int
) -> list[list[ImagePart]]:
    """The images that each medium of a query is shown as; of a video its frames.

    Args:
        record: The query.
        folders: Folders that media may be in.
        max_frames: Most frames of a video, evenly spread.

    Raises:
        DataError: A medium is in none of the folders.
    """
    return [
        _images(record, at, medium, folders, max_frames) for at, medium in enumerate(record.media)
    ]


def _images(
    record: QueryRecord, place: int, medium: Media, folders: MediaFolders, max_frames: int
) -> list[ImagePart]:
    frames = spread(medium.frames, max_frames) if medium.kind == "video" else None
    files: Sequence[tuple[str, str]] = (
        medium.files if frames is None else [(frame.uri, frame.sha256) for frame in frames]
    )
    try:
        return [ImagePart(folders.resolve(uri), sha256) for uri, sha256 in files]
    except DataError as error:
        raise in_record(record, error, f"media[{place}]", "media") from error


def _text(record: QueryRecord) -> str:
    """The question as a model is asked in training: without marks, which must stand for media."""
    text = record.query.text
    _check_marks(record, "query.text", text, [medium.kind for medium in record.media])
    found = without_marks(text)
    return text if found == text else found.strip()


def _check_marks(record: QueryRecord, field: str, text: str, kinds: Sequence[str]) -> None:
    if (surplus := surplus_marks(text, kinds)) is not None:
        place = record.location
        raise DataError(surplus, file=place.file, row=place.row, field=field, fault="markup")


def _origin(endpoint: EndpointSettings, sample: int, answer: Answer) -> ModelOrigin:
    return ModelOrigin(
        name=endpoint.name,
        revision=endpoint.revision,
        endpoint=endpoint.base_url,
        params=Sampling.of(endpoint.sampling, sample).params(),
        finish_reason=answer.finish_reason,
        usage=answer.usage,
    )

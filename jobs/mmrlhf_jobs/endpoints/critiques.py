"""Expansion of human comments into critiques to learn from (paper 3.2 and Table 7).

The server sees question, answer and comment, and no image: it may only word what the comment says.
A response whose expansion fails keeps its human comment alone, and is counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Final

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.conversation import transcript
from mmrlhf_jobs.data.parts import Augmenter, Critique
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.responses import Response
from mmrlhf_jobs.endpoints.askable import Question
from mmrlhf_jobs.endpoints.asking import Outcome
from mmrlhf_jobs.endpoints.checks import check_expansion
from mmrlhf_jobs.endpoints.requests import ChatRequest, Sampling, TextPart

__all__ = ["PROMPT", "CritiqueInquiry"]

PROMPT: Final = (
    "You will receive an image-related question, an answer, and a comment provided by a human"
    " expert for the answer.\n\n"
    "Your task is to expand the human comment comprehensively while retaining its strengths and"
    " weaknesses, making it more professional, and logically rigorous. Focus only on expanding the"
    " comment and do not answer the question.\n\n"
    "Ensure the expanded comment is strictly based on the provided human comment and avoids any"
    " speculation or uncertain content.\n\n"
    "[Question:] {question}\n[Answer:] {answer}\n[Human Comment for the answer:] {reason}\n\n"
    "Expanded Comment:"
)
"""The prompt of the paper's Table 7, word by word."""

_DIGEST: Final = hashlib.sha256(PROMPT.encode()).hexdigest()


class CritiqueInquiry:
    """Expands the comment of every response that has one and is not expanded yet.

    The comment is ``critique.human`` or, without it, ``reasons.overall``.

    Args:
        endpoint: The server to ask.
    """

    def __init__(self, endpoint: EndpointSettings) -> None:
        self._endpoint = endpoint

    def questions(self, record: RankedResponse) -> Sequence[Question]:
        """One question a comment."""
        return [self._question(record, one, _comment(one) or "") for one in _open(record)]

    def assemble(self, record: RankedResponse, outcomes: Sequence[Outcome]) -> RankedResponse:
        """The record with its expansions."""
        expanded = {
            response.response_id: self._expand(response, outcome)
            for response, outcome in zip(_open(record), outcomes, strict=True)
        }
        responses = tuple(expanded.get(one.response_id, one) for one in record.responses)
        return record.model_copy(update={"responses": responses})

    def _question(self, record: RankedResponse, response: Response, comment: str) -> Question:
        question, answer = transcript(record.asked), response.text
        # Plain replacement: the texts may hold braces.
        fields = {"{question}": question, "{answer}": answer, "{reason}": comment}
        pieces = _split(PROMPT, fields)
        request = ChatRequest(
            model=self._endpoint.model,
            revision=self._endpoint.revision,
            parts=(TextPart("".join(fields.get(piece, piece) for piece in pieces)),),
            sampling=Sampling.of(self._endpoint.sampling),
        )
        check = partial(
            check_expansion,
            comment=comment,
            context=f"{question}\n{answer}",
            most_tokens=self._endpoint.sampling.max_tokens,
        )
        place = f"record {record.record_id!r}, response {response.response_id!r}"
        return Question(self._endpoint.name, request, check, place)

    def _expand(self, response: Response, outcome: Outcome) -> Response:
        comment = _comment(response)
        assert comment is not None
        critique = Critique(human=comment)
        if outcome.answer is not None:
            critique = Critique(
                human=comment,
                augmented=outcome.answer.text.strip(),
                augmenter=Augmenter(
                    model=self._endpoint.model,
                    prompt_sha256=_DIGEST,
                    params=Sampling.of(self._endpoint.sampling).params(),
                ),
            )
        return response.model_copy(update={"critique": critique})


def _comment(response: Response) -> str | None:
    if response.critique is not None:
        return response.critique.human
    return None if response.reasons is None else response.reasons.overall


def _open(record: RankedResponse) -> list[Response]:
    return [
        one
        for one in record.responses
        if _comment(one) is not None and (one.critique is None or one.critique.augmented is None)
    ]


def _split(template: str, fields: dict[str, str]) -> list[str]:
    pieces, rest = [], template
    for name in fields:
        before, _, rest = rest.partition(name)
        pieces += [before, name]
    return [*pieces, rest]

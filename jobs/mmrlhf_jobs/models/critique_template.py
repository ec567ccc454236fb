r"""The prompt of the reward model: how a response is critiqued, as token ids (paper 3.2).

The wording is that of the MM-RLHF release. The user's turn ends with the response to judge, so all
responses of a query share what comes before::

    [media] instruction [Question]: question [LMM Response]:      the shared prompt
     response \n\n [Evaluation]: <end of turn><assistant>         opens the critique
    critique <terminal token>                                     the score is read at the last one

Without a critique the terminal token follows at once; the place of the score is the same rule in
training and in use (the release reads it at two different places).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmrlhf_jobs.data.conversation import Asked, reworded
from mmrlhf_jobs.errors import DataError, ModelError
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter

if TYPE_CHECKING:
    from mmrlhf_jobs.data.media import LoadedMedia
    from mmrlhf_jobs.data.records import Media

__all__ = ["INSTRUCTION", "CritiqueTemplate"]

INSTRUCTION = (
    "You are an unbiased and fair evaluator tasked with assessing the quality of answers provided "
    "by a Large Multimodal Model (LMM). Given the following question and the LMM's response, "
    "please evaluate the correctness, clarity, and completeness of the answer. Provide a detailed "
    "explanation of your assessment, including specific points of strength and areas for "
    "improvement.\n\n[Question]: {question}\n[LMM Response]:"
)
# The space belongs to the response: byte-level vocabularies join it to the word that follows.
_RESPONSE = " {response}\n\n[Evaluation]:"
_ENDING = ":"
"""How both end: tokens after them may depend on what they follow."""


def _instructed(question: Asked) -> Asked:
    """The instruction around the last question; earlier turns stay turns before it."""
    before, _, after = INSTRUCTION.partition("{question}")
    return reworded(question, before, after)


class CritiqueTemplate:
    """Turns queries, responses and critiques into groups for a reward model.

    Args:
        adapter: Tokenises and processes media.
        max_tokens: Longest sequence that the model takes; longer ones are refused.

    Raises:
        ModelError: The model's chat template does not let responses share a prompt.
    """

    def __init__(self, adapter: VLMAdapter, *, max_tokens: int) -> None:
        self._adapter = adapter
        self._max_tokens = max_tokens
        self._closing = adapter.chat.closing_ids(_ENDING)
        self.terminal_id = adapter.chat.terminal_id

    def encode(
        self,
        question: Asked,
        media: Sequence[LoadedMedia],
        responses: Sequence[str],
        critiques: Sequence[str | None],
    ) -> EncodedGroup:
        """Responses with their critiques; the critique and the terminal token are predicted.

        A response whose critique is None is scored without one, and nothing of it is predicted.

        Raises:
            DataError: A text holds a placeholder or a special token, or a sequence is too long.
        """
        opened = self.open(question, media, responses)
        whole = self._completed(opened.responses, critiques)
        for index, ids in enumerate(whole):
            self._check_length(opened.prompt_ids, ids, f"responses[{index}]")
        return EncodedGroup(
            prompt_ids=opened.prompt_ids,
            responses=whole,
            media_inputs=opened.media_inputs,
            given=tuple(
                len(ids) if critique is None else len(start)
                for start, critique, ids in zip(opened.responses, critiques, whole, strict=True)
            ),
        )

    def open(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str]
    ) -> EncodedGroup:
        """Responses up to where their critiques start.

        Raises:
            DataError: A text holds a placeholder or a special token, or a sequence is too long.
            ModelError: The user's turn ends with tokens that depend on what it says.
        """
        group = self._adapter.encode(_instructed(question), media, [])
        prompt = group.prompt_ids[: -len(self._closing)]
        if not torch.equal(group.prompt_ids[len(prompt) :], self._closing):
            raise ModelError(
                "the tokens after the user's turn of the chat template depend on what it says, so "
                "responses to judge cannot be put at the end of a prompt that they share"
            )
        opened = self._begun(responses)
        for index, ids in enumerate(opened):
            self._check_length(prompt, ids, f"responses[{index}].text")
        return EncodedGroup(prompt, opened, group.media_inputs)

    def fits(
        self,
        question: Asked,
        media: Sequence[Media],
        responses: Sequence[str],
        critiques: Sequence[str | None],
    ) -> bool:
        """Whether the model takes what `encode` would make, whatever the sizes of the images.

        No medium is opened. False does not mean that a sequence is too long: `encode` tells.

        Raises:
            DataError: A text holds a placeholder or a special token.
        """
        longest = self._adapter.longest_prompt(_instructed(question), media)
        room = self._max_tokens - (longest - len(self._closing))
        return all(len(ids) <= room for ids in self._completed(self._begun(responses), critiques))

    def room(self, group: EncodedGroup, response: int) -> int:
        """Tokens that a critique of an opened response may have, the terminal token left out."""
        return self._max_tokens - len(group.prompt_ids) - len(group.responses[response]) - 1

    def digest(self) -> str:
        """Digest of everything that turns texts into tokens."""
        content = [self._adapter.template_digest(), INSTRUCTION, _RESPONSE, self._closing.tolist()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def _begun(self, responses: Sequence[str]) -> tuple[Tensor, ...]:
        """Token ids of responses up to where their critiques start."""
        texts = [_RESPONSE.format(response=response) for response in responses]
        ids = [
            self._adapter.chat.text_ids(text, f"responses[{index}].text")
            for index, text in enumerate(texts)
        ]
        return tuple(torch.cat([text, self._closing]) for text in ids)

    def _completed(
        self, begun: Sequence[Tensor], critiques: Sequence[str | None]
    ) -> tuple[Tensor, ...]:
        """The same with critiques, where there are any, and the terminal token."""
        end = torch.tensor([self.terminal_id])
        ids = [
            self._adapter.chat.text_ids(critique or "", f"responses[{index}].critique")
            for index, critique in enumerate(critiques)
        ]
        return tuple(torch.cat([*parts, end]) for parts in zip(begun, ids, strict=True))

    def _check_length(self, prompt: Tensor, response: Tensor, field: str) -> None:
        length = len(prompt) + len(response)
        if length > self._max_tokens:
            raise DataError(
                f"{length} tokens with media, question and critique, but the model takes "
                f"{self._max_tokens}. The score is read at the last token, so nothing is cut off: "
                "shorten the row or leave it out",
                field=field,
                fault="too-long",
            )

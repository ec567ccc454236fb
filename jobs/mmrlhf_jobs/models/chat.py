"""Questions and responses as token ids, by the tokenizer's own chat template.

Prompt and response are tokenised apart and joined as ids, so the prompt has the same ids whatever
follows it: that is what lets responses share it, and what TRL's DPOTrainer does as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mmrlhf_jobs.data.conversation import Asked, Conversation
from mmrlhf_jobs.data.marks import surplus_marks, without_marks
from mmrlhf_jobs.data.messages import chat_messages, in_one_text, lost_message
from mmrlhf_jobs.errors import DataError, ModelError
from mmrlhf_jobs.models.rendering import check_template, render_within

__all__ = ["ChatTemplate"]

# Something that no template contains and no tokenizer treats specially.
_PROBE = "probe 0d1c7"
# A noncharacter of Unicode, which stands in no text that is meant to be read.
_BREAK = "\ufdd0"


class ChatTemplate:
    r"""Chat template of a tokenizer, with placeholders for media.

    The user turn is one ``<placeholder>\n`` per medium, then the question (the format of the
    MM-RLHF release). Templates that take a list of content parts get the same as parts.

    Args:
        tokenizer: The tokenizer.
        placeholders: Kind of medium -> placeholder token, such as ``{"image": "<image>"}``.
        part_types: Kind of medium -> ``type`` of the content part for templates that take parts.
        chat_template: The template; without it, the tokenizer's.
        reserved: Further tokens that stand for media and that no text may hold.
        as_stock: Make prompts as ``apply_chat_template`` of transformers' processors does: content
            parts where the template takes them, and the tokenizer's first token in front of a
            template that does not write it.

    Raises:
        ModelError: There is no template, it does not fit the assumptions above, or it loops.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        placeholders: dict[str, str],
        part_types: dict[str, str],
        chat_template: str | None = None,
        reserved: Sequence[str] = (),
        as_stock: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.placeholders = placeholders
        self._part_types = part_types
        self._media_tokens = [*placeholders.values(), *reserved]
        self._first = _first_token(tokenizer) if as_stock else None
        self._template = chat_template or tokenizer.chat_template
        if not self._template:
            raise ModelError(
                "the tokenizer has no chat template; add chat_template to tokenizer_config.json or "
                "a chat_template.jinja file to the model folder"
            )
        named = self._template.values() if isinstance(self._template, dict) else [self._template]
        for template in named:
            check_template(template)
        self._placeholder_pattern = _any_of(list(placeholders.values()))
        self._media_pattern = _any_of(self._media_tokens)
        added = tokenizer.added_tokens_decoder.values()
        special = {*tokenizer.all_special_tokens, *(str(one) for one in added if one.special)}
        longest_first = sorted(filter(None, special), key=lambda one: (-len(one), one))
        self._special_pattern = _any_of(longest_first)
        # Templates that iterate over content parts silently render nothing for a plain string, and
        # some take both, but write what goes around an image for parts alone.
        kinds = list(placeholders)[:1]
        forms = [True, False] if as_stock and kinds else [False, True]
        found = [parts for parts in forms if not self._rendering_lacks_content(kinds, parts=parts)]
        if not found:
            raise ModelError(
                "the chat template renders neither a text nor a list of content parts"
                + "".join(f" with an {kind}" for kind in kinds)
                + "; see the template in the model folder"
            )
        self._takes_parts = found[0]
        self.terminal_token, self.terminal_id = self._find_terminal()

    def prompt_text(self, question: Asked, kinds: Sequence[str]) -> str:
        """Render the prompt up to the start of the assistant's turn, placeholders unexpanded.

        Marks for media that the question itself holds are taken out: data sets of the LLaVA family
        write them into the text. The texts of a conversation may hold none: its media have places.
        Special tokens in texts are broken in two, see :meth:`_broken`.

        Args:
            question: Text of the user, or a conversation.
            kinds: Kind of each medium, in order.

        Raises:
            DataError: A text holds the terminal token, or more marks than there are media, or the
                template takes no such conversation.
        """
        if isinstance(question, Conversation):
            return self._conversation_text(question, kinds)
        if (surplus := surplus_marks(question, kinds)) is not None:
            raise DataError(surplus, field="query.text", fault="markup")
        question = self._media_pattern.sub("", without_marks(question)).strip("\n")
        self._refuse(question, [self.terminal_token, _BREAK], "query.text")
        question = self._broken(question)
        return self._render(question, kinds, parts=self._takes_parts, generation=True)

    def _conversation_text(self, asked: Conversation, kinds: Sequence[str]) -> str:
        for field, text in asked.texts.items():
            if (surplus := surplus_marks(text, [])) is not None:
                raise DataError(surplus, field=field, fault="markup")
            self._refuse(text, [*self._media_tokens, self.terminal_token, _BREAK], field)
        try:
            if self._takes_parts:
                messages = self._messages(asked, kinds, parts=True)
                text = self._rendered(messages, generation=True)
                if lost_message(text, messages, self.placeholders, self._part_types) is None:
                    return text
            # Templates of some families put all images of a turn in front of its words; within the
            # text they stay where they are.
            messages = in_one_text(self._messages(asked, kinds, parts=False), self._takes_parts)
            text = self._rendered(messages, generation=True)
        except (TemplateError, TypeError, ValueError) as error:
            raise DataError(
                f"the model's chat template does not take this conversation: {error}",
                field="query",
                fault="template",
            ) from error
        lost = lost_message(text, messages, self.placeholders, self._part_types)
        if lost is not None:
            role = messages[lost]["role"]
            raise DataError(
                f"the model's chat template leaves out message {lost}, of the role {role}, or "
                "moves its media; take a model whose template keeps it, or leave the row out",
                field="query.system" if role == "system" else "query.turns",
                fault="template",
            )
        return text

    def prompt_ids(self, question: Asked, kinds: Sequence[str], counts: Sequence[int]) -> Tensor:
        """Tokenise a prompt with every placeholder expanded.

        Args:
            question: Text of the user.
            kinds: Kind of each medium, in order.
            counts: Number of tokens of each medium, in order.

        Returns:
            Token ids ``[P]``, int64.
        """
        inserts = [
            self.placeholders[kind] * count for kind, count in zip(kinds, counts, strict=True)
        ]
        return self.prompt_ids_with(question, kinds, inserts)

    def prompt_ids_with(
        self, question: Asked, kinds: Sequence[str], inserts: Sequence[str]
    ) -> Tensor:
        """Tokenise a prompt with a text in the place of every placeholder.

        Args:
            question: Text of the user.
            kinds: Kind of each medium, in order.
            inserts: Per medium what stands for it, in order.

        Returns:
            Token ids ``[P]``, int64.
        """
        text = self.prompt_text(question, kinds)
        left = list(zip(kinds, inserts, strict=True))
        pieces, start = [], 0
        for match in self._placeholder_pattern.finditer(text):
            # A template may move images in front of videos: take the next medium of this kind.
            place = next(
                index
                for index, (kind, _) in enumerate(left)
                if self.placeholders[kind] == match.group()
            )
            pieces += [text[start : match.start()], left.pop(place)[1]]
            start = match.end()
        pieces.append(text[start:])
        return self._tokenise_prompt("".join(pieces))

    def text_ids(self, text: str, place: str) -> Tensor:
        """Tokenise a piece of text that stands in a user's or an assistant's turn.

        Args:
            text: The text; nothing is added to it.
            place: Field path for errors, such as ``responses[0].text``.

        Returns:
            Token ids ``[N]``, int64; empty for an empty text.

        Raises:
            DataError: The text holds a placeholder or the terminal token.
        """
        reserved = [*self._media_tokens, self.terminal_token, _BREAK]
        self._refuse(text, reserved, place)
        return self._tokenise(self._broken(text))

    def closing_ids(self, ending: str) -> Tensor:
        """Token ids between the end of the user's text and the start of the assistant's answer.

        Where they begin with a special token, which separates words, any text has the same ids
        before them. Others (LLaVA's template writes `` ASSISTANT:``) are those that follow a text
        of this ending.

        Args:
            ending: How the user's text ends.

        Returns:
            Token ids ``[N]``, int64, at least one.

        Raises:
            ModelError: The template writes nothing after the user's text, or a token belongs to
                both.
        """
        text = self.prompt_text(_PROBE + ending, [])
        start = text.index(_PROBE) + len(_PROBE + ending)
        ids = self._tokenise(text[start:])
        if len(ids) > 0 and int(ids[0]) in set(self.tokenizer.all_special_ids):
            return ids
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        places = found["offset_mapping"]
        ids = torch.tensor(
            [
                one
                for one, place in zip(found["input_ids"], places, strict=True)
                if place[0] >= start
            ],
            dtype=torch.int64,
        )
        if len(ids) == 0 or any(first < start < end for first, end in places):
            raise ModelError(
                "the chat template does not end the user's turn with tokens of its own, so "
                "responses to judge cannot be put at the end of a prompt that they share"
            )
        return ids

    def response_ids(self, text: str, place: str) -> Tensor:
        """Tokenise a response and end it with the terminal token.

        Args:
            text: The response.
            place: Field path for errors, such as ``responses[0].text``.

        Returns:
            Token ids ``[R]``, int64.

        Raises:
            DataError: The response holds a placeholder or the terminal token.
        """
        return torch.cat([self.text_ids(text, place), torch.tensor([self.terminal_id])])

    def digest(self) -> str:
        """Digest of template, special tokens and placement of media."""
        kinds = list(self.placeholders)
        content = {
            "template": self._template,
            "special_tokens": {k: str(v) for k, v in self.tokenizer.special_tokens_map.items()},
            "terminal": [self.terminal_token, self.terminal_id],
            "placement": self.prompt_text(_PROBE, kinds),
            "ids": self._tokenise_prompt(self.prompt_text(_PROBE, kinds)).tolist(),
        }
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _tokenise(self, text: str) -> Tensor:
        ids: list[int] = []
        for piece in text.split(_BREAK):
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.int64)

    def _broken(self, text: str) -> str:
        """A text of a record in which no tokenizer finds a special token.

        What people and models wrote is text, also where it spells a token of the template, such as
        ``<|im_start|>``: such ones are broken in two, and both halves are tokenised as text. Other
        texts stay what they are, and have the same ids as ever.
        """
        return self._special_pattern.sub(lambda found: f"{found[0][0]}{_BREAK}{found[0][1:]}", text)

    def _tokenise_prompt(self, text: str) -> Tensor:
        ids = self._tokenise(text)
        if self._first is None or text.startswith(self._first[0]):
            return ids
        return torch.cat([torch.tensor([self._first[1]]), ids])

    def _render(
        self,
        question: Asked,
        kinds: Sequence[str],
        *,
        parts: bool,
        generation: bool,
        answer: str | None = None,
    ) -> str:
        messages = self._messages(question, kinds, parts=parts)
        if answer is not None:
            reply = [{"type": "text", "text": answer}] if parts else answer
            messages.append({"role": "assistant", "content": reply})
        return self._rendered(messages, generation=generation)

    def _messages(self, asked: Asked, kinds: Sequence[str], *, parts: bool) -> list[dict[str, Any]]:
        return chat_messages(
            asked,
            kinds,
            placeholders=self.placeholders,
            part_types=self._part_types if parts else None,
            # A question is broken already.
            clean=self._broken if isinstance(asked, Conversation) else str,
        )

    def _rendered(self, messages: Sequence[dict[str, Any]], *, generation: bool) -> str:
        return render_within(
            lambda: str(
                self.tokenizer.apply_chat_template(
                    messages,
                    chat_template=self._template,
                    tokenize=False,
                    add_generation_prompt=generation,
                )
            )
        )

    def _rendering_lacks_content(self, kinds: Sequence[str], *, parts: bool) -> bool:
        try:
            text = self._render(_PROBE, kinds, parts=parts, generation=True)
        except (TemplateError, TypeError, ValueError):
            return True
        written = [text.count(self.placeholders[kind]) for kind in kinds]
        return text.count(_PROBE) != 1 or written != [1] * len(kinds)

    def _find_terminal(self) -> tuple[str, int]:
        answer = _PROBE + " answer"
        whole = self._render(_PROBE, [], parts=self._takes_parts, generation=False, answer=answer)
        if whole.count(answer) != 1:
            raise ModelError("the chat template does not render the assistant's answer")
        # Only what follows the answer counts. What precedes it may differ from the generation
        # prompt (the LLaVA-OneVision conversions put a space there); training uses the latter.
        rest = whole[whole.index(answer) + len(answer) :]
        # Some put a space there, and leave the end to the tokenizer.
        after = self._tokenise(rest).tolist() if rest.strip() else []
        terminal_id = after[0] if after else self.tokenizer.eos_token_id
        if terminal_id is None:
            raise ModelError(
                "neither the chat template nor the tokenizer ends an answer with a token; set "
                "eos_token in tokenizer_config.json"
            )
        token = str(self.tokenizer.convert_ids_to_tokens(terminal_id))
        if token not in self.tokenizer.all_special_tokens:
            raise ModelError(
                f"the chat template ends an answer with {token!r}, which is not a special token of "
                "the tokenizer; generation could not stop there"
            )
        return token, int(terminal_id)

    @staticmethod
    def _refuse(text: str, tokens: Sequence[str], field: str) -> None:
        for token in tokens:
            if token in text:
                raise DataError(
                    f"the text holds {token!r}, a special token of the model; remove it",
                    field=field,
                    fault="markup",
                )


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Pattern of any of these texts; of nothing if there are none."""
    return re.compile("|".join(map(re.escape, tokens)) or r"(?!)")


def _first_token(tokenizer: PreTrainedTokenizerBase) -> tuple[str, int] | None:
    """The token that the tokenizer puts in front of a text by itself, and its id."""
    if tokenizer.bos_token is None:
        return None
    ids = tokenizer("", add_special_tokens=True)["input_ids"]
    begins = len(ids) > 0 and ids[0] == tokenizer.bos_token_id
    return (tokenizer.bos_token, int(ids[0])) if begins else None

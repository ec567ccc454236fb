"""The critique prompt: what the model reads, where the score is, and what is refused."""

from __future__ import annotations

import pytest
import torch

from mmrlhf_jobs.errors import DataError, ModelError
from mmrlhf_jobs.models import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.families.llava_onevision import LlavaOnevisionAdapter
from tests.jobs.models.tiny import CHATML, make_processor
from tests.jobs.reward.conftest import QUERIES

RELEASED = (
    "You are an unbiased and fair evaluator tasked with assessing the quality of answers provided "
    "by a Large Multimodal Model (LMM). Given the following question and the LMM's response, "
    "please evaluate the correctness, clarity, and completeness of the answer. Provide a detailed "
    "explanation of your assessment, including specific points of strength and areas for "
    "improvement.\n\n[Question]: {question}\n[LMM Response]: {answer}\n\n[Evaluation]:"
)


def test_the_text_is_that_of_the_release(loaded: LoadedModel, prompt: CritiqueTemplate) -> None:
    question, media, responses, critiques = QUERIES[0]
    group = prompt.encode(question, media, responses, critiques)
    tokenizer = loaded.processor.tokenizer
    image = f"<image>{chr(10)}"
    for answer, critique, ids in zip(responses, critiques, group.responses, strict=True):
        text = tokenizer.decode(torch.cat([group.prompt_ids, ids]))
        user = image + RELEASED.format(question=question, answer=answer)
        expected = tokenizer.apply_chat_template(
            [{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True
        )
        one_image = text.replace("<image>" * text.count("<image>"), "<image>")
        assert one_image == f"{expected}{critique or ''}<|im_end|>"


def test_only_the_critique_and_its_end_are_predicted(
    loaded: LoadedModel, prompt: CritiqueTemplate, groups: list[EncodedGroup]
) -> None:
    for group, (question, media, responses, critiques) in zip(groups, QUERIES, strict=True):
        opened = prompt.open(question, media, responses)
        assert torch.equal(opened.prompt_ids, group.prompt_ids)
        for index, critique in enumerate(critiques):
            ids, start = group.responses[index], len(opened.responses[index])
            assert torch.equal(ids[:start], opened.responses[index])
            assert int(ids[-1]) == loaded.adapter.chat.terminal_id
            assert group.predicted[index] == (0 if critique is None else len(ids) - start)


def test_a_sequence_that_is_too_long_is_refused_and_never_cut(loaded: LoadedModel) -> None:
    question, media, responses, critiques = QUERIES[0]
    whole = CritiqueTemplate(loaded.adapter, max_tokens=4096).encode(
        question, media, responses, critiques
    )
    longest = max(len(whole.prompt_ids) + len(one) for one in whole.responses)
    fits = CritiqueTemplate(loaded.adapter, max_tokens=longest)
    assert fits.encode(question, media, responses, critiques).tokens == whole.tokens
    with pytest.raises(DataError, match=r"responses\[1\].*\d+ tokens.*nothing is cut off"):
        CritiqueTemplate(loaded.adapter, max_tokens=longest - 1).encode(
            question, media, responses, critiques
        )


@pytest.mark.parametrize("token", ["<|im_end|>", "<image>"])
def test_special_tokens_in_critiques_are_refused(prompt: CritiqueTemplate, token: str) -> None:
    with pytest.raises(DataError, match=r"responses\[0\].critique"):
        prompt.encode("what?", [], ["a"], [f"it is {token}"])


def test_the_digest_follows_the_chat_template(loaded: LoadedModel) -> None:
    digest = CritiqueTemplate(loaded.adapter, max_tokens=9).digest()
    assert digest == CritiqueTemplate(loaded.adapter, max_tokens=10).digest()
    terse = make_processor(CHATML.replace("helpful", "terse"))
    other = LlavaOnevisionAdapter(loaded.model.config, terse)
    assert CritiqueTemplate(other, max_tokens=9).digest() != digest


ORDINARY = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}"
    "{{ '<|im_end|>' if m['role'] == 'assistant' else END }}{% endfor %}"
)


def test_a_turn_may_end_with_ordinary_text(loaded: LoadedModel) -> None:
    plain = ORDINARY.replace("END", "' '") + (
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    adapter = LlavaOnevisionAdapter(loaded.model.config, make_processor(plain))
    group = CritiqueTemplate(adapter, max_tokens=4096).encode("what?", [], ["a dog"], ["no"])
    whole = RELEASED.format(question="what?", answer="a dog")
    ids = torch.cat([group.prompt_ids, group.responses[0]])
    assert adapter.chat.tokenizer.decode(ids) == f"user: {whole} assistant: no<|im_end|>"
    stock = adapter.chat.prompt_ids(whole, [], [])
    assert ids[: len(stock)].tolist() == stock.tolist()


def test_a_turn_that_ends_with_nothing_is_refused(loaded: LoadedModel) -> None:
    adapter = LlavaOnevisionAdapter(
        loaded.model.config, make_processor(ORDINARY.replace("END", "''"))
    )
    with pytest.raises(ModelError, match="share"):
        CritiqueTemplate(adapter, max_tokens=9)

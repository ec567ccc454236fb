"""A family that is added by one registration, with positions that are not those of the tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import write_answers
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model, supported_model_types
from mmrlhf_jobs.models.families import registry
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import critique_template
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.reward_model.writing import write_critiques
from tests.jobs.models.tiny import picture
from tests.jobs.models.toy import MODEL_TYPE, ToyFamily, register_with_transformers, save_toy


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """The toy, known to the package by this line alone."""
    folder = save_toy(tmp_path_factory.mktemp("models") / "toy")
    register_with_transformers()
    registry.register(MODEL_TYPE)(ToyFamily)
    try:
        yield load_model(folder, dtype="float64", attention="sdpa")
    finally:
        del registry._FAMILIES[MODEL_TYPE]


@pytest.fixture
def groups(loaded: LoadedModel) -> list[EncodedGroup]:
    def images(*sizes: tuple[int, int]) -> list[LoadedMedia]:
        return [LoadedMedia("image", (picture(*size, 1),)) for size in sizes]

    encode = loaded.adapter.encode
    return [
        encode("what is this?", images((56, 28)), ["a dog", "a red square"]),
        encode("and this, a dog or a circle, or none?", [], ["no"]),
        encode("two?", images((28, 42), (56, 56)), ["a", "blue circle"]),
    ]


def plain_inputs(loaded: LoadedModel, group: EncodedGroup, *more: Tensor) -> dict[str, Any]:
    """What transformers' own model is given, from ids on; it finds the positions itself."""
    ids = torch.cat([group.prompt_ids, *more])[None]
    kinds = (ids == loaded.model.config.image_token_id).int()
    inputs = {name: value.clone() for name, value in group.media_inputs.items()}
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].double()
    loaded.model.model.rope_deltas = None
    return {"input_ids": ids, "mm_token_type_ids": kinds, **inputs}


def test_the_family_is_known_and_no_other_lost(loaded: LoadedModel) -> None:
    assert isinstance(loaded.adapter, ToyFamily)
    assert set(supported_model_types()) >= {MODEL_TYPE, "llava_onevision"}
    with pytest.raises(ValueError, match="has a family already"):
        registry.register("llava_onevision")(ToyFamily)


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_log_probs_are_those_of_the_plain_model(
    loaded: LoadedModel, groups: list[EncodedGroup], shared_prefix: bool
) -> None:
    expected = []
    for group in groups:
        for response in group.responses:
            logits = loaded.model(**plain_inputs(loaded, group, response)).logits[0]
            steps = torch.log_softmax(logits, -1)[len(group.prompt_ids) - 1 : -1]
            expected.append(steps.gather(1, response[:, None]).sum())
    found = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared_prefix)
    torch.testing.assert_close(found.sums, torch.stack(expected), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def stock_tokens(loaded: LoadedModel, group: EncodedGroup, *more: Tensor, count: int) -> list[int]:
    """Greedy tokens from whole forward passes of the plain model, each with all before it."""
    written: list[int] = []
    while len(written) < count:
        inputs = plain_inputs(loaded, group, *more, torch.tensor(written, dtype=torch.int64))
        written.append(int(loaded.model(**inputs).logits[0, -1].argmax()))
        if written[-1] == loaded.adapter.chat.terminal_id:
            break
    return written


def answers(loaded: LoadedModel, groups: list[EncodedGroup]) -> list[list[int]]:
    """Greedy answers of all groups in one batch."""
    found = write_answers(
        loaded.model,
        loaded.adapter,
        groups,
        choose=choose_likeliest,
        ends=[loaded.adapter.chat.terminal_id],
        max_new_tokens=12,
    )
    return [answer.tokens.tolist() for answer in found]


def test_answers_go_on_at_the_positions_of_the_family(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [stock_tokens(loaded, group, count=12) for group in groups]
    assert answers(loaded, groups) == expected
    decode = loaded.processor.tokenizer.decode
    texts = [decode(tokens, skip_special_tokens=True) for tokens in expected]
    assert generate_answers(loaded, groups, max_new_tokens=12) == texts
    # Negative control: positions that count tokens, as a decoder makes them that is given none.
    monkeypatch.setattr(
        ToyFamily,
        "prompt_positions",
        lambda _, group: torch.arange(len(group.prompt_ids)).expand(3, -1),
    )
    counted = answers(loaded, groups)
    assert counted[0] != expected[0]
    assert counted[1] == expected[1], "without an image they are the same"
    assert counted[2] != expected[2]


def test_critiques_go_on_at_the_positions_of_the_family(loaded: LoadedModel) -> None:
    image = LoadedMedia("image", (picture(56, 28, 2),))
    group = critique_template(loaded).open("what is this?", [image], ["a dog", "no, nothing"])
    scorer = RewardScorer(
        loaded.model, loaded.adapter, RewardHead("linear", 32).double(), shared_prefix=True
    )

    writing = write_critiques(scorer, [group], choose=choose_likeliest, limits=[8, 8])
    terminal = loaded.adapter.chat.terminal_id
    for response, tokens in zip(group.responses, writing.tokens, strict=True):
        stock = stock_tokens(loaded, group, response, count=8)
        assert tokens.tolist() == [token for token in stock if token != terminal]

"""Greedy answers against the model's own generation, one query at a time."""

from __future__ import annotations

import pytest
import torch

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.loading import load_model
from tests.jobs.models.tiny import picture, save_tiny


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_tiny(tmp_path_factory.mktemp("model"), scale=8.0)
    return load_model(folder, dtype="float32", attention="sdpa")


def prompts(loaded: LoadedModel) -> list[EncodedGroup]:
    media: list[tuple[LoadedMedia, ...]] = [
        (LoadedMedia("image", (picture(56, 28, 0),)),),
        (),
        (LoadedMedia("frames", (picture(28, 28, 1), picture(28, 28, 2))),),
        (LoadedMedia("image", (picture(28, 28, 3),)), LoadedMedia("image", (picture(28, 56, 4),))),
    ]
    questions = ["what is it?", "a dog?", "what happens in this film, and why?", "which is red?"]
    return [
        loaded.adapter.encode(question, items, ["x"])
        for question, items in zip(questions, media, strict=True)
    ]


def stock_answer(loaded: LoadedModel, prompt: EncodedGroup) -> str:
    """What transformers' own path from pixels to text says."""
    inputs = dict(prompt.media_inputs)
    if "pixel_values_videos.0" in inputs:
        inputs["pixel_values_videos"] = inputs.pop("pixel_values_videos.0")
    ids = prompt.prompt_ids[None]
    generated = loaded.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        **inputs,
    )
    text: str = loaded.processor.tokenizer.decode(
        generated[0, ids.shape[1] :], skip_special_tokens=True
    )
    return text


def test_a_mixed_batch_answers_as_each_query_alone(loaded: LoadedModel) -> None:
    queries = prompts(loaded)
    expected = [stock_answer(loaded, query) for query in queries]
    assert len(set(expected)) == len(expected), "the queries must not all look the same"
    assert generate_answers(loaded, queries, max_new_tokens=12) == expected


@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty`")
def test_penalties_of_the_generation_settings_hold(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in transformers' own generation from embeddings: for the tokens that are written."""
    query = prompts(loaded)[0]
    free = generate_answers(loaded, [query], max_new_tokens=12)
    monkeypatch.setattr(loaded.model.generation_config, "repetition_penalty", 5.0)
    ids = query.prompt_ids[None]
    places = loaded.adapter.prompt_positions(query)[:, None]
    embedded = loaded.adapter.embed(loaded.model, ids, places, [query], [1])
    generated = loaded.model.generate(
        inputs_embeds=embedded.inputs_embeds,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
    )
    expected = loaded.processor.tokenizer.decode(generated[0], skip_special_tokens=True)
    assert [expected] == generate_answers(loaded, [query], max_new_tokens=12) != free

"""Sampling of the tiny policy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.queries import QueryRecord, as_query
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.decoding import Answer
from mmrlhf_jobs.improvement import sampling
from mmrlhf_jobs.improvement.groups import Sample
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.improvement.sampling import PolicySampler
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.loading import load_model
from tests.jobs.models.tiny import picture, save_tiny
from tests.unit.data.builders import make_record

PLAN = SamplingPlan(samples=4, temperature=1.0, max_new_tokens=6, seed=3)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = save_tiny(tmp_path_factory.mktemp("policy"), scale=3.0)
    return load_model(folder, dtype="float32", attention="sdpa")


def sampler(loaded: LoadedModel, plan: SamplingPlan = PLAN) -> PolicySampler:
    return PolicySampler(loaded, plan, name="tiny", digest="0" * 64)


Item = tuple[QueryRecord, tuple[LoadedMedia, ...]]


def item(text: str, seed: int | None = 0) -> Item:
    media = () if seed is None else (LoadedMedia("image", (picture(28, 28, seed),)),)
    return as_query(make_record(query={"text": text})), media


def test_a_sample_is_the_same_alone_and_in_a_batch(loaded: LoadedModel) -> None:
    items = [item("what is it?"), item("a dog, or not a dog?", 1), item("is it?")]
    together = sampler(loaded).sample(items)
    alone = [sampler(loaded).sample([one])[0] for one in items]
    assert together == alone
    fewer = sampler(loaded, replace(PLAN, samples=2)).sample(items[:1])[0]
    assert fewer == alone[0][:2], "the number of samples changes none of them"
    assert len({sample.text for samples in alone for sample in samples}) > 8


def test_seeds_and_global_state(loaded: LoadedModel) -> None:
    one = [item("what is it?")]
    torch.manual_seed(1)
    first = sampler(loaded).sample(one)
    torch.manual_seed(2)
    assert sampler(loaded).sample(one) == first
    assert sampler(loaded, replace(PLAN, seed=4)).sample(one) != first


def test_tokens_come_as_often_as_they_are_likely(loaded: LoadedModel) -> None:
    """First tokens against the softmax of the model's own forward pass."""
    plan = SamplingPlan(samples=16, temperature=0.7, max_new_tokens=1)
    query, media = item("what is it?")
    group = loaded.adapter.encode(query.query.text, media, [])
    ids = group.prompt_ids[None]
    with torch.no_grad():
        places = loaded.adapter.prompt_positions(group)[:, None]
        inputs = loaded.adapter.embed(loaded.model, ids, places, [group], [1])
        logits = loaded.model(inputs_embeds=inputs.inputs_embeds).logits[0, -1]
    decode = loaded.processor.tokenizer.decode
    # Some tokens have one text: pieces of characters, and those that are no text.
    expected: Counter[str] = Counter()
    for token, likely in enumerate((logits / plan.temperature).softmax(-1).tolist()):
        expected[decode([token], skip_special_tokens=True)] += likely
    counts: Counter[str] = Counter()
    for seed in range(60):
        drawn = sampler(loaded, replace(plan, seed=seed)).sample([(query, media)])[0]
        counts.update(sample.text for sample in drawn)
    total = counts.total()
    for text, likely in expected.most_common(5):
        share = counts[text] / total
        assert share == pytest.approx(likely, abs=4 * math.sqrt(likely * (1 - likely) / total))


def test_the_nucleus_cuts_off_the_rest(loaded: LoadedModel) -> None:
    plan = SamplingPlan(samples=8, temperature=1.0, top_p=1e-6, max_new_tokens=4)
    texts = {sample.text for sample in sampler(loaded, plan).sample([item("what is it?")])[0]}
    assert len(texts) == 1, "only the likeliest token is left"


def test_flaws_are_told(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    one = [item("what is it?")]
    assert "truncated" in {sample.flaw for sample in sampler(loaded).sample(one)[0]}
    made = sampler(loaded)
    # Every token ends the answer: a text of nothing but special tokens is empty.
    monkeypatch.setattr(made, "_ends", list(range(320)))
    assert all(sample.flaw in (None, "empty", "placeholder") for sample in made.sample(one)[0])
    assert all(isinstance(sample, Sample) for sample in made.sample(one)[0])


def test_what_the_policy_thinks_is_no_part_of_a_sample(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ["<think>a dog?</think>a dog.", "<think>a dog? let", "a dog.", "not"]
    encode = loaded.processor.tokenizer.encode

    def write(*args: object, **options: object) -> list[Answer]:
        return [Answer(torch.tensor(encode(text)), ended=True) for text in written]

    monkeypatch.setattr(sampling, "write_answers", write)
    (found,) = sampler(loaded).sample([item("what is it?")])
    assert [(one.text, one.flaw, one.thought) for one in found] == [
        ("a dog.", None, True),
        ("", "unfinishedThought", True),
        ("a dog.", None, False),
        ("not", None, False),
    ]


def test_prompts_and_samples_must_fit_the_policy(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, media = item("what is it?")
    made = sampler(loaded)
    opened: list[int] = []

    def load() -> tuple[LoadedMedia, ...]:
        opened.append(1)
        return media

    made.check(query, load)
    assert not opened, "media are opened only if they decide"
    length = len(loaded.adapter.encode(query.asked, media, []).prompt_ids)
    monkeypatch.setattr(loaded.model.config.get_text_config(), "max_position_embeddings", length)
    with pytest.raises(DataError, match=f"{length} tokens with media and question") as caught:
        made.check(query, load)
    assert caught.value.fault == "too-long"
    longer = length + 1
    monkeypatch.setattr(loaded.model.config.get_text_config(), "max_position_embeddings", longer)
    made.check(query, load)
    flaws = {sample.flaw for sample in made.sample([(query, media)])[0]}
    assert flaws <= {"truncated", "tooLong", "empty", "unfinishedThought"}


def test_the_key_follows_from_what_samples_depend_on(loaded: LoadedModel) -> None:
    query, _ = item("what is it?")
    other, _ = item("what is that?")
    keys = [
        sampler(loaded).key(query),
        sampler(loaded).key(other),
        sampler(loaded, replace(PLAN, seed=9)).key(query),
        PolicySampler(loaded, PLAN, name="tiny", digest="1" * 64).key(query),
    ]
    assert len(set(keys)) == 4
    assert sampler(loaded).key(query) == keys[0]


@pytest.mark.parametrize(
    "changes", [{"samples": 1}, {"samples": 17}, {"temperature": 0.0}, {"top_p": 0.0}]
)
def test_plans_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="2 to 16 samples"):
        SamplingPlan(**changes)  # type: ignore[arg-type]


def test_origins_name_the_seed_of_each_sample(loaded: LoadedModel, tmp_path: Path) -> None:
    query, _ = item("what is it?")
    origins = sampler(loaded).origins(query)
    seeds = {origin.params.seed for origin in origins if origin.params}
    assert len(seeds) == len(origins) == 4

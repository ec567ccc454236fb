"""Families that scale or bend their logits: against the model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.decoding import Decoding
from mmrlhf_jobs.forward.logprobs import token_log_probs
from mmrlhf_jobs.forward.sharing import Comparison, compare_rows
from mmrlhf_jobs.models import LoadedModel, load_model
from mmrlhf_jobs.models.loading import Attention
from mmrlhf_jobs.models.logit_shape import LogitShape
from tests.jobs.models import zoo


def granite() -> Any:
    return hf.GraniteConfig(**zoo.text_settings(logits_scaling=0.25, attention_multiplier=0.4))


def cohere() -> Any:
    return hf.CohereConfig(**zoo.text_settings(logit_scale=3.0))


def gemma2() -> Any:
    return hf.Gemma2Config(**zoo.text_settings(head_dim=8, final_logit_softcapping=0.7))


FAMILIES = (granite, cohere, gemma2)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], LoadedModel]:
    def load_one(make: Callable[[], Any]) -> LoadedModel:
        _, processor = zoo.FAMILIES["qwen3"]()
        monkeypatch.setitem(zoo.FAMILIES, "bent", lambda: (make(), processor))
        folder = zoo.save("bent", tmp_path / "bent", scale=3.0)
        # Gemma 2 bends its attention's scores as well, which sdpa cannot.
        attention: Attention = "eager" if make is gemma2 else "sdpa"
        loaded = load_model(folder, dtype="float64", attention=attention)
        loaded.model.train()
        return loaded

    return load_one


def compare(loaded: LoadedModel) -> Comparison:
    group = loaded.adapter.encode("what is this?", [], ["a dog", "no, a red square", "blue"])
    shared = loaded.adapter.supports_shared_prefix
    return compare_rows(loaded.model, loaded.adapter, [group], wanted=shared)


@pytest.mark.parametrize("make", FAMILIES)
def test_log_probabilities_and_gradients(
    load: Callable[[Any], LoadedModel], make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(make)
    found = compare(loaded)
    assert found.trusted == (make is not gemma2)
    deviation = found.shared or found.separate
    assert deviation is not None
    assert deviation.log_prob < 1e-6
    assert deviation.gradient < 1e-6
    # Negative control: without it, the proof before the first step refuses the model.
    monkeypatch.setattr(LogitShape, "of", lambda _: LogitShape())
    with pytest.raises(ModelError, match="are not read as transformers reads them"):
        compare(loaded)


@pytest.mark.parametrize("make", FAMILIES)
def test_what_is_sampled_from(load: Callable[[Any], LoadedModel], make: Callable[[], Any]) -> None:
    loaded = load(make)
    loaded.model.eval()
    group = loaded.adapter.encode("what is this?", [], [])
    with torch.no_grad():
        decoding = Decoding(loaded.model, loaded.adapter, [group])
        found = decoding.logits(decoding.read_prompts())
        plain = loaded.model(input_ids=group.prompt_ids[None]).logits[:, -1]
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("shape", [LogitShape(0.5), LogitShape(1.0, 2.0), LogitShape(1.5, 0.8)])
def test_gradients_by_finite_differences(chunk: int, shape: LogitShape) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()
        for size in ((7, 5), (11, 5), (11,))
    )
    targets = torch.randint(0, 11, (7,), generator=generator)
    logits = shape.scale * (hidden @ weight.T + bias)
    if shape.cap is not None:
        logits = shape.cap * torch.tanh(logits / shape.cap)
    expected = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
    assert torch.autograd.gradcheck(
        lambda h, w, b: token_log_probs(h, w, b, targets, chunk_tokens=chunk, shape=shape),
        (hidden, weight, bias),
    )
    torch.testing.assert_close(
        token_log_probs(hidden, weight, bias, targets, chunk_tokens=chunk, shape=shape), expected
    )


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({}, LogitShape()),
        ({"logit_scale": 0.0625}, LogitShape(0.0625)),
        ({"logits_scaling": 8.0}, LogitShape(0.125)),
        ({"final_logit_softcapping": 30.0}, LogitShape(1.0, 30.0)),
        ({"logit_scale": None, "final_logit_softcapping": None}, LogitShape()),
    ],
)
def test_what_a_configuration_asks_for(config: dict[str, Any], shape: LogitShape) -> None:
    assert LogitShape.of(SimpleNamespace(**config)) == shape

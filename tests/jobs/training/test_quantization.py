"""QLoRA: frozen weights in NF4, against a plain adapter on the weights that NF4 stands for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmrlhf_api import Adapter, Trainable
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.lora import Lora, add_lora, merge_lora, without_adapter
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.quantization import BITS, plain_weight, quantize
from mmrlhf_jobs.models.weights import held
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.inputs import Policy
from mmrlhf_jobs.training.memory.estimate import Card, estimate
from mmrlhf_jobs.training.memory.rows import Batch
from mmrlhf_jobs.training.memory.shape import make_skeleton, measure_shape
from tests.jobs.models.tiny import save_tiny
from tests.jobs.training.divided import Begun, begin, encode, job_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*"),
    pytest.mark.usefixtures("one_thread"),
]

ALONE = Runtime(0, 1, torch.device("cpu"))
NF4 = Adapter(rank=4, alpha=8, quantization="nf4")
CODE = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]
"""The 16 values of NF4, appendix E of the paper."""


def by_hand(weight: torch.Tensor) -> torch.Tensor:
    """NF4 and back, a block at a time, its scale as it is."""
    blocks = weight.double().flatten().reshape(-1, 64)
    code = torch.tensor(CODE, dtype=torch.float64)
    scales = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / scales)[..., None].sub(code).abs().argmin(-1)
    return (code[nearest] * scales).reshape(weight.shape)


def test_a_weight_is_what_the_paper_says_and_takes_as_many_bits() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(256, 512)
    model, weight = nn.Sequential(layer), layer.weight.detach().clone()
    quantize(model, ["0"])
    state = model.state_dict()
    found = plain_weight(held(state), "0.weight").read()
    # The scales themselves are rounded to 8 bits about their mean.
    scales = weight.flatten().reshape(-1, 64).abs().amax(1)
    rounding = float((scales - scales.mean()).abs().max()) / 100
    assert float((found.double() - by_hand(weight)).abs().max()) < rounding
    assert float((found - weight).abs().max()) > 10 * rounding, "it is rounded at all"
    kept = ("0.weight", "0.weight.absmax", "0.weight.nested_absmax")
    assert sum(state[name].nbytes for name in kept) == weight.numel() * BITS / 8
    inputs = torch.randn(3, 256)
    expected = nn.functional.linear(inputs, found, state["0.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("quantized") / "model", scale=2.0)


@pytest.fixture(scope="module")
def rounded(folder: Path) -> Path:
    """The model whose weights are what NF4 makes of them, in float32."""
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Trainable())
    lora = add_lora(loaded, NF4, seed=0)
    # Of which nothing is trained yet.
    plain = merge_lora(held(loaded.model.state_dict()), lora.scale)
    target = folder.parent / "rounded"
    again = load_model(folder, dtype="float32", attention="sdpa")
    assert plain.keys() == again.model.state_dict().keys()
    again.model.load_state_dict({name: one.read() for name, one in plain.items()})
    again.model.save_pretrained(target)
    for file in folder.iterdir():
        if not (target / file.name).exists():
            (target / file.name).write_bytes(file.read_bytes())
    return target


def trained(folder: Path, kind: str, quantization: str | None) -> tuple[Begun, list[float]]:
    case: dict[str, Any] = {"kind": kind, "folder": str(folder), "lora": True}
    begun = begin(
        {**case, "parallelism": {"engine": "none"}, "quantization": quantization}, ALONE, steps=3
    )
    return begun, [begun.step(number).loss for number in range(3)]


@pytest.mark.parametrize("kind", ["MMDPOJob", "RewardTrainJob"])
def test_it_learns_what_an_adapter_learns_on_the_weights_that_nf4_stands_for(
    folder: Path, rounded: Path, kind: str
) -> None:
    """Which is that of peft, see `test_lora`; and so are the losses, and the merged weights."""
    narrow, losses = trained(folder, kind, "nf4")
    plain, expected = trained(rounded, kind, None)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert trained(folder, kind, None)[1] != pytest.approx(expected, rel=1e-4)
    with narrow.engine.weights() as own, plain.engine.weights() as other:
        learnt = [name for name in other if ".lora_" in name]
        assert learnt
        for name in learnt:
            torch.testing.assert_close(own[name].read(), other[name].read(), rtol=1e-3, atol=2e-5)
        merged, usual = merge_lora(own, 2.0), merge_lora(other, 2.0)
        assert merged.keys() == usual.keys()
        for name, one in usual.items():
            assert (merged[name].dtype, merged[name].shape) == (one.dtype, one.shape)
            torch.testing.assert_close(merged[name].read(), one.read(), rtol=1e-3, atol=2e-5)


def quantized(folder: Path, dtype: Any) -> tuple[Any, Lora]:
    loaded = load_model(folder, dtype=dtype, attention="sdpa")
    loaded.adapter.freeze(loaded.model, Trainable())
    return loaded, add_lora(loaded, NF4, seed=0)


def test_the_adapter_has_the_models_format_and_the_rest_is_as_it_was(folder: Path) -> None:
    """The reference is the quantized model, to the bit, in passes with and without gradients."""
    loaded, lora = quantized(folder, "bfloat16")
    before = load_model(folder, dtype="bfloat16", attention="sdpa").model.state_dict()
    state = loaded.model.state_dict()
    layers = {f"{name}.weight" for name in lora.layers}
    for name, value in before.items():
        if name in layers:
            assert state[name.replace(".weight", ".base_layer.weight")].dtype == torch.uint8
        else:
            assert torch.equal(state.get(name, state.get(base_of(name))), value)
    assert {one.dtype for one in loaded.model.parameters() if one.requires_grad} == {torch.bfloat16}
    assert lora.quantized == sum(before[name].numel() for name in layers)
    assert f", {lora.quantized} of them in nf4" in lora.sentence()
    assert lora.as_dict()["quantizedParameters"] == lora.quantized
    assert not getattr(loaded.model, "is_loaded_in_4bit", False)
    precision = Precision("bfloat16", "sdpa", "none")
    policy = Policy(loaded, folder, "digest", precision, lora)
    groups = encode(loaded.adapter.encode, loaded)
    with torch.no_grad():
        first = policy.rows(groups).sums
    for name, weight in loaded.model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(weight, std=0.1)
    loaded.model.train()
    with without_adapter(loaded.model):
        assert torch.equal(policy.rows(groups).sums, first)
    assert not torch.equal(policy.rows(groups).sums, first)
    plain = Policy(loaded, folder, "digest", precision)
    assert policy.reference_identity() != plain.reference_identity()


def test_the_estimate_counts_what_is_there(folder: Path) -> None:
    """But for two tables a layer, which are of one size whatever the layer is."""
    spec = job_of("MMDPOJob", adapter=NF4.model_dump(by_alias=True)).spec
    shape = measure_shape(make_skeleton(folder, spec.model), spec)
    found = {part.name: part for part in estimate(spec, shape, Batch(8), Card(None)).parts}
    loaded, lora = quantized(folder, "float32")
    tables = ("weight.quant_map", "weight.nested_quant_map", "bitsandbytes__nf4")
    there = {
        one.data_ptr(): one.nbytes
        for name, one in loaded.model.state_dict().items()
        if not name.endswith(tables)
    }
    assert found["weights"].count == pytest.approx(sum(there.values()), rel=0.01)
    assert found["weights of a layer"].count == 4 * lora.widest
    assert f"{lora.quantized:,} of them in 4.13 bits" in found["weights"].note


def base_of(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{layer}.base_layer.{kind}"


def test_without_the_package_it_is_told_which(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    with pytest.raises(SpecError, match=r"spec.adapter.quantization: .* install mmrlhf\[qlora\]"):
        quantized(folder, "float32")

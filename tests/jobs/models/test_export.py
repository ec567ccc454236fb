"""Models as files, written weight by weight; all families are in `test_generic`."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.export import write_weights
from mmrlhf_jobs.models.weights import Weight, held
from tests.jobs.models.zoo import save


def files_of(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.glob("model*")}


@pytest.mark.parametrize(
    ("family", "together"),
    [("qwen3", "one weight"), ("qwen3_5_moe", "the experts of a layer")],
)
def test_shards_are_those_of_transformers_with_little_in_memory(
    family: str, together: str, tmp_path: Path
) -> None:
    model = load_model(save(family, tmp_path / "a"), dtype="bfloat16", attention="sdpa").model
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def watched(one: Weight) -> Weight:
        def read() -> Tensor:
            nonlocal most
            value = one.read().clone()
            alive.append(weakref.ref(value))
            there = (found for ref in alive if (found := ref()) is not None)
            most = max(most, sum(value.nbytes for value in there))
            return value

        return replace(one, read=read)

    weights = held(model.state_dict())
    again = {one: watched(one) for one in weights.values()}
    (tmp_path / "own").mkdir()
    named = {name: again[one] for name, one in weights.items()}
    write_weights(model, named, tmp_path / "own", shard=20_000)
    model.save_pretrained(tmp_path / "stock", max_shard_size=20_000)
    own = files_of(tmp_path / "own")
    assert own == files_of(tmp_path / "stock")
    assert len(own) > 3
    largest = max(one.nbytes for one in model.parameters())
    layer = sum(one.nbytes for one in model.get_decoder().layers[0].parameters())
    assert most <= (largest if together == "one weight" else max(largest, layer))


def test_numbers_of_every_format_lie_where_safetensors_puts_them(tmp_path: Path) -> None:
    """Formats of larger numbers come first, whatever the order of the names."""
    model = load_model(save("qwen3", tmp_path / "a"), dtype="float32", attention="sdpa").model
    kinds = (torch.bool, torch.uint8, torch.float16, torch.bfloat16, torch.int64, torch.float64)
    for place, kind in enumerate(kinds):
        model.register_buffer(f"extra_{place}", torch.arange(3).to(kind))
    model.register_buffer("point", torch.tensor(1.5))
    model.register_buffer("none", torch.zeros(0, 4))
    (tmp_path / "own").mkdir()
    write_weights(model, held(model.state_dict()), tmp_path / "own")
    model.save_pretrained(tmp_path / "stock")
    assert files_of(tmp_path / "own") == files_of(tmp_path / "stock")


def test_two_names_of_one_weight_that_the_model_does_not_know_of_are_refused(
    tmp_path: Path,
) -> None:
    model = load_model(save("qwen3", tmp_path / "a"), dtype="float32", attention="sdpa").model
    layers = model.get_decoder().layers
    layers[1].mlp.up_proj.weight = layers[0].mlp.up_proj.weight
    with pytest.raises(ValueError, match=r"layers.0.mlp.up_proj.weight.*are one weight"):
        write_weights(model, held(model.state_dict()), tmp_path)

"""After the warm-up, micro-batches of new lengths build nothing: counted by hooks."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.nn.attention.bias import CausalBias
from torch.utils._python_dispatch import TorchDispatchMode

from mmrlhf_jobs.attention import split
from mmrlhf_jobs.attention.layout import RowLayout
from mmrlhf_jobs.attention.merged import CPU_KERNEL, Inputs
from mmrlhf_jobs.attention.parts import Spans
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model

LAYERS, WARM_UP, BATCHES = 2, 5, 30


class Counted:
    """The kernel, and the shapes that it was called with."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.shapes: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()

    def forward(self, inputs: Inputs, spans: tuple[Spans, Spans], **how: Any) -> Any:
        self.calls["forward"] += 1
        self.shapes.add((spans[0].lengths, spans[1].lengths))
        return CPU_KERNEL.forward(inputs, spans, **how)

    def backward(self, *args: Any, **how: Any) -> Inputs:
        self.calls["backward"] += 1
        return CPU_KERNEL.backward(*args, **how)


class Operators(TorchDispatchMode):
    """Names of the operators, and masks that were made: of truth values, of two lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.masks: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        if isinstance(result, Tensor) and result.dtype == torch.bool:
            shape = tuple(result.shape)
            if len(shape) >= 2 and min(shape[-2:]) > 1:
                self.masks.append(shape)
        return result


def texts(seed: int) -> list[EncodedGroup]:
    """Queries whose prompts and responses have any length."""
    draw = random.Random(seed)

    def ids(longest: int) -> Tensor:
        return torch.tensor([draw.randint(10, 300) for _ in range(draw.randint(1, longest))])

    return [
        EncodedGroup(ids(40), tuple(ids(12) for _ in range(draw.randint(2, 4))), {})
        for _ in range(draw.randint(1, 3))
    ]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of what makes a mask."""
    seen: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            seen[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    watch(RowLayout, "full_mask")
    watch(CausalBias, "_materialize")
    return seen


def run(loaded: LoadedModel, seeds: range, *, shared_prefix: bool = True) -> Operators:
    operators = Operators()
    with operators:
        for seed in seeds:
            scored = response_log_probs(
                loaded.model, loaded.adapter, texts(seed), shared_prefix=shared_prefix
            )
            scored.sums.sum().backward()
    return operators


def test_new_lengths_compile_nothing_and_make_no_mask(
    loaded: LoadedModel, builds: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Counted()
    monkeypatch.setattr(split, "CPU_KERNEL", kernel)
    warm = run(loaded, range(WARM_UP))
    kernel.calls.clear()
    kernel.shapes.clear()
    graphs = counters["stats"]["unique_graphs"]
    builds.clear()
    later = run(loaded, range(WARM_UP, WARM_UP + BATCHES))
    assert len(kernel.shapes) > 2 * BATCHES - 10, "lengths are not new"
    assert kernel.calls == {"forward": 2 * LAYERS * BATCHES, "backward": 2 * LAYERS * BATCHES}
    assert counters["stats"]["unique_graphs"] == graphs
    assert not builds
    assert not later.masks
    assert later.names <= warm.names


def test_negative_control_masks_of_parts_are_counted(
    loaded: LoadedModel, builds: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_splitting(q: Tensor, k: Tensor, v: Tensor, parts: Any, **how: Any) -> Tensor:
        del how["kernel"]
        first = [one.transpose(0, 1)[None] for one in (q, k, v)]
        found = split.split_attention(first[0], first[1], first[2], parts, **how)
        return found[0].transpose(0, 1)

    monkeypatch.setattr(split, "merged_attention", by_splitting)
    response_log_probs(loaded.model, loaded.adapter, texts(1), shared_prefix=True)
    assert builds["_materialize"] > 0


def test_negative_control_masks_of_rows_are_counted(tiny: Path, builds: Counter[str]) -> None:
    loaded = load_model(tiny, dtype="float64", attention="eager")
    assert run(loaded, range(2)).masks
    assert builds["full_mask"] == 2

"""Compiled norms and feed-forward layers: nothing is compiled for new lengths, numbers agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from mmrlhf_jobs.forward.compilation import Compilation, compile_layers
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import LoadedModel, load_model
from mmrlhf_jobs.models.recomputation import recompute
from mmrlhf_jobs.training import trainer
from tests.jobs.forward.test_nothing_per_shape import texts
from tests.jobs.models.zoo import save

# Dynamo looks at the gradient of every input, and torch warns of those that have none.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen3", tmp_path_factory.mktemp("models") / "qwen3", scale=3.0)


@pytest.fixture
def qwen(folder: Path) -> LoadedModel:
    loaded = load_model(folder, dtype="float64", attention="sdpa")
    loaded.model.train()
    return loaded


def compiled(loaded: LoadedModel, backend: Any = "eager") -> Compilation:
    ticks = iter([10.0, 12.5])
    return compile_layers(loaded, backend=backend, clock=lambda: next(ticks))


def outcome(loaded: LoadedModel, seed: int) -> list[Tensor]:
    """Sums both ways to lay out rows, with and without gradients, and the gradients."""
    loaded.model.zero_grad()
    found = []
    for shared in (True, False):
        groups = texts(seed)
        sums = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared).sums
        sums.sum().backward()
        with torch.no_grad():
            again = response_log_probs(
                loaded.model, loaded.adapter, groups, shared_prefix=shared
            ).sums
        found += [sums.detach(), again]
    return [*found, *(one.grad for one in loaded.model.parameters() if one.grad is not None)]


def test_new_lengths_compile_nothing_and_numbers_agree(qwen: LoadedModel) -> None:
    seeds = range(8)
    expected = [outcome(qwen, seed) for seed in seeds]
    # Layers that are recomputed run compiled code a second time.
    recompute(qwen, every=2, tower=False)
    found = compiled(qwen, "aot_eager")
    assert found.reason == ""
    assert found.classes == ("Qwen3MLP", "Qwen3RMSNorm")
    assert found.modules == 2 * 5 + 1
    assert found.seconds == 2.5
    # A norm of tokens, one of heads, a feed-forward layer, with gradients and without; and some of
    # them for several rows.
    assert 6 <= found.graphs <= 8
    graphs = counters["stats"]["unique_graphs"]
    for seed, other in zip(seeds, expected, strict=True):
        for one, plain in zip(outcome(qwen, seed), other, strict=True):
            torch.testing.assert_close(one, plain, rtol=1e-9, atol=1e-9)
    assert counters["stats"]["unique_graphs"] == graphs
    assert list(qwen.model.state_dict()) == list(
        load_model(
            Path(qwen.model.name_or_path), dtype="float64", attention="sdpa"
        ).model.state_dict()
    )


def test_negative_control_marked_lengths_are_what_spares_graphs(
    qwen: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.compile

    def fixed(function: Any, **how: Any) -> Any:
        return real(function, **{**how, "dynamic": False})

    monkeypatch.setattr(torch, "compile", fixed)
    assert compiled(qwen).graphs > 8


def broken(graph: Any, inputs: Any) -> Callable[..., Any]:
    del graph, inputs
    raise RuntimeError("no C++ compiler here\nand more")


def wrong(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
    del inputs
    return lambda *args: tuple(1.1 * one for one in graph(*args))


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (broken, "no C.. compiler here"),
        (wrong, "compiled code is .* nats a token and .* of the gradients apart"),
        ("no-such-backend", "no-such-backend"),
    ],
)
def test_what_fails_or_is_wrong_leaves_the_model_as_it_was(
    qwen: LoadedModel, backend: Any, reason: str
) -> None:
    expected = outcome(qwen, 3)
    found = compiled(qwen, backend)
    assert found.modules == found.graphs == 0
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.sentence())
    assert found.sentence().startswith("nothing is compiled: ")
    assert "\n" not in found.sentence()
    graphs = counters["stats"]["unique_graphs"]
    assert all(
        torch.equal(one, other) for one, other in zip(outcome(qwen, 3), expected, strict=True)
    )
    assert counters["stats"]["unique_graphs"] == graphs


def test_experts_are_left_alone(tmp_path: Path) -> None:
    loaded = load_model(save("qwen3_vl_moe", tmp_path / "moe"), dtype="float32", attention="sdpa")
    found = compiled(loaded)
    assert found.reason == ""
    assert all("Norm" in name for name in found.classes)


def test_what_the_user_is_told() -> None:
    told = Compilation(11, ("MLP", "RMSNorm"), graphs=6, seconds=41.6).sentence()
    assert told == "11 modules (MLP, RMSNorm) run 6 compiled graphs; the warm-up took 42 s"


@pytest.mark.parametrize(
    ("engine", "stage", "tried"),
    [("none", 3, True), ("deepspeed", 2, True), ("deepspeed", 3, False)],
)
def test_weights_that_are_split_are_not_compiled(
    monkeypatch: pytest.MonkeyPatch, engine: str, stage: int, tried: bool
) -> None:
    asked: list[dict[str, Any]] = []

    def note(_: Any, **how: Any) -> Compilation:
        asked.append(how)
        return Compilation(3, ("MLP",), 2, 1.0)

    monkeypatch.setattr(trainer, "compile_layers", note)
    told: list[str] = []
    events: list[tuple[Any, ...]] = []
    progress = SimpleNamespace(emit=lambda *what, **_: events.append(what))
    parallelism = SimpleNamespace(zero_stage=stage)
    owner: Any = SimpleNamespace(
        _context=SimpleNamespace(progress=progress, tell=told.append),
        _job=SimpleNamespace(spec=SimpleNamespace(parallelism=parallelism)),
        _engine=SimpleNamespace(kind=engine),
    )
    policy: Any = SimpleNamespace(loaded=None)
    found = trainer.Trainer._compile(owner, policy)
    assert bool(asked) == tried == (found.modules > 0)
    assert told == [found.sentence()]
    assert events == [("phase",)]
    if not tried:
        assert "parallelism.zeroStage 3 splits the weights" in told[0]

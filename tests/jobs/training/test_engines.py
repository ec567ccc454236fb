"""Engines in fewer than 32 bits: float32 masters, and the scale of the loss in float16."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import nn

from mmrlhf_api import MMDPOJob, Optimizer
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.errors import SpecError, TrainingError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines import torch_engine
from mmrlhf_jobs.training.engines.deepspeed_engine import DeepSpeedEngine
from mmrlhf_jobs.training.engines.loss_scale import FIRST, WINDOW, LossScale
from mmrlhf_jobs.training.engines.registry import choose_engine
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine
from tests.jobs.training.state_files import write
from tests.jobs.training.world import World
from tests.jobs.warm import AT_IMPORT, Program

CPU = torch.device("cpu")
ALONE, PAIR = Runtime(0, 1, CPU), Runtime(0, 2, CPU)


class Weight(nn.Module):
    """A weight per place, whose gradient is what is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2, dtype=dtype))

    def forward(self, gradient: torch.Tensor) -> torch.Tensor:
        return (self.weight * gradient.to(self.weight.dtype)).float().sum()


def make(dtype: torch.dtype) -> tuple[Weight, TorchEngine[torch.Tensor]]:
    module = Weight(dtype)
    return module, TorchEngine(module, Optimizer(max_grad_norm=1e9), ALONE)


def step(
    engine: TorchEngine[torch.Tensor], gradient: float, *, times: int = 1, rate: float = 1e-3
) -> float | None:
    for _ in range(times):
        engine.backward(engine.forward(torch.full((2, 2), gradient)))  # type: ignore[arg-type]
    return engine.step(learning_rate=rate)


def test_updates_smaller_than_a_unit_of_bfloat16_add_up() -> None:
    module, engine = make(torch.bfloat16)
    for _ in range(16):
        step(engine, 1.0)
    assert module.weight.dtype == torch.bfloat16
    assert module.weight.tolist() == [[0.984375] * 2] * 2, "16 steps of 0.001 from 1"


def test_gradients_of_micro_batches_are_summed_in_float32() -> None:
    _, engine = make(torch.bfloat16)
    # bfloat16 knows no number between 256 and 258.
    assert step(engine, 1.0, times=300) == pytest.approx(600.0)


def test_a_gradient_that_overflows_float16_skips_the_step_and_halves_the_scale() -> None:
    module, engine = make(torch.float16)
    norms = [step(engine, 2.0) for _ in range(3)]
    assert norms == [None, None, pytest.approx(4.0)], "2 * 65536 and 2 * 32768 are infinite"
    assert torch.equal(module.weight, torch.full((2, 2), 1 - 1e-3, dtype=torch.float16))


def test_a_scale_that_cannot_become_smaller_ends_the_run() -> None:
    _, engine = make(torch.float16)
    assert [step(engine, float("inf")) for _ in range(16)] == [None] * 16
    with pytest.raises(TrainingError, match="overflow float16 even where the loss is not scaled"):
        step(engine, float("inf"))


def test_the_scale_grows_again_after_a_while() -> None:
    scale = LossScale()
    scale.overflowed()
    for _ in range(WINDOW):
        assert scale.value == FIRST / 2
        scale.succeeded()
    assert (scale.value, scale.clean) == (FIRST, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_checkpoint_keeps_masters_and_scale(tmp_path: Path, dtype: torch.dtype) -> None:
    module, engine = make(dtype)
    for _ in range(3):
        step(engine, 2.0)
    write(engine.fragments(), tmp_path)
    again, other = make(dtype)
    other.load(SavedState(tmp_path.iterdir(), {"weight": 4}), engine.counters())
    assert torch.equal(again.weight, module.weight)
    for _ in range(9):
        assert step(engine, 3.0) == step(other, 3.0)
        assert torch.equal(again.weight, module.weight)


Gradients: TypeAlias = Mapping[str, torch.Tensor]


class Weights(nn.Module):
    """Weights of several shapes, one laid out by columns; the gradients are what is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        shapes = {"row": (5, 7), "column": (7, 3), "norm": (37,)}
        for name, shape in shapes.items():
            value = torch.randn(shape, generator=draw).to(dtype)
            by_columns = value.T.contiguous().T if name == "column" else value
            self.register_parameter(name, nn.Parameter(by_columns))

    def forward(self, gradients: Gradients) -> torch.Tensor:
        own = dict(self.named_parameters())
        products = [
            (own[name] * one.to(own[name].dtype)).float().sum() for name, one in gradients.items()
        ]
        return torch.stack(products).sum()


SETTINGS = Optimizer(
    beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.1, max_grad_norm=3.0, learning_rate=0.01
)


def draw_gradients(module: Weights, step: int) -> Gradients:
    """Of every second step the norm is too large."""
    draw = torch.Generator().manual_seed(step)
    scale = 1.0 if step % 2 else 0.1
    return {
        name: (scale * torch.randn(one.shape, generator=draw)).to(one.dtype)
        for name, one in module.named_parameters()
    }


def take(engine: TorchEngine[torch.Tensor], gradients: Gradients, rate: float) -> float | None:
    engine.backward(engine.forward(gradients))  # type: ignore[arg-type]
    return engine.step(learning_rate=rate)


def adamw(weights: Gradients, steps: list[tuple[Gradients, float]]) -> dict[str, torch.Tensor]:
    """Weights in float64 after some steps, as Loshchilov and Hutter write it (algorithm 2)."""
    found = {name: one.detach().double() for name, one in weights.items()}
    first = {name: torch.zeros_like(one) for name, one in found.items()}
    second = {name: torch.zeros_like(one) for name, one in found.items()}
    for number, (gradients, rate) in enumerate(steps, start=1):
        norm = sum(float(one.double().square().sum()) for one in gradients.values()) ** 0.5
        for name, weight in found.items():
            gradient = gradients[name].double() * min(1.0, 3.0 / norm)
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.95 * second[name] + 0.05 * gradient**2
            mean, square = first[name] / (1 - 0.8**number), second[name] / (1 - 0.95**number)
            decay = 0.1 * weight if weight.ndim > 1 else 0.0
            found[name] = weight - rate * (mean / (square.sqrt() + 1e-6) + decay)
    return found


def test_steps_are_those_of_adamw_in_float64() -> None:
    module = Weights(torch.float32)
    engine: TorchEngine[torch.Tensor] = TorchEngine(module, SETTINGS, ALONE)
    before = {name: one.detach().clone() for name, one in module.named_parameters()}
    steps = [(draw_gradients(module, number), 0.01 / (1 + number)) for number in range(6)]
    norms = [take(engine, gradients, rate) for gradients, rate in steps]
    assert min(norms) < 3.0 < max(norms)  # type: ignore[type-var, operator]
    for name, expected in adamw(before, steps).items():
        found = module.get_parameter(name).detach().double()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_lie_as_their_weights_do_after_a_checkpoint(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    module, again = Weights(dtype), Weights(dtype)
    engine: TorchEngine[torch.Tensor] = TorchEngine(module, SETTINGS, ALONE)
    other: TorchEngine[torch.Tensor] = TorchEngine(again, SETTINGS, ALONE)
    take(engine, draw_gradients(module, 0), 0.01)
    write(engine.fragments(), tmp_path)
    sizes = {name: one.numel() for name, one in module.named_parameters()}
    other.load(SavedState(tmp_path.iterdir(), sizes), {})
    for number in (1, 2):
        gradients = draw_gradients(module, number)
        assert take(engine, gradients, 0.01) == take(other, gradients, 0.01)
        for one, expected in zip(again.parameters(), module.parameters(), strict=True):
            assert torch.equal(one, expected)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_float16_with_deepspeed_on_cpus_is_refused_before_the_start(stage: int) -> None:
    spec = MMDPOJob.model_validate(
        {
            "metadata": {"name": "x"},
            "spec": {
                "artifacts": {"uri": "a"},
                "model": {"uri": "m", "dtype": "float16"},
                "data": {"train": {"uri": "d"}},
                "objective": {"beta": {"strategy": "fixed"}},
                "parallelism": {"zeroStage": stage},
            },
        }
    ).spec
    if stage == 0:
        assert choose_engine(spec, PAIR).name == "torch"
    else:
        with pytest.raises(SpecError, match=r"spec\.model\.dtype: DeepSpeed trains in float16 on"):
            choose_engine(spec, PAIR)
    assert choose_engine(spec, Runtime(0, 2, torch.device("cuda"))).kind == "deepspeed"


def test_plain_torch_keeps_nothing_in_main_memory() -> None:
    named = {"artifacts": {"uri": "a"}, "model": {"uri": "m"}, "data": {"train": {"uri": "d"}}}
    fixed = {"beta": {"strategy": "fixed"}}
    job = {**named, "objective": fixed, "parallelism": {"offload": "optimizer"}}
    spec = MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": job}).spec
    with pytest.raises(SpecError, match=r"parallelism\.offload: optimizer is for DeepSpeed"):
        choose_engine(spec, Runtime(0, 1, CPU))
    assert choose_engine(spec, PAIR).name == "deepspeed-2"


class Overflowing:
    """What `DeepSpeedEngine` sees of DeepSpeed where gradients overflow."""

    param_groups: tuple[dict[str, float], ...] = ()

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def step(self) -> None:
        if self._error is not None:
            raise self._error

    def was_step_applied(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, None),
        (Exception("Current loss scale already at minimum - cannot decrease"), TrainingError),
        (RuntimeError("something else"), RuntimeError),
    ],
)
def test_what_deepspeed_does_at_an_overflow(
    error: Exception | None, expected: type[Exception] | None
) -> None:
    engine: Any = object.__new__(DeepSpeedEngine)
    engine._engine = engine._optimizer = Overflowing(error)
    engine._scales_loss = True
    if expected is None:
        assert engine.step(learning_rate=0.1) is None
    else:
        with pytest.raises(expected):
            engine.step(learning_rate=0.1)


def test_deepspeed_skips_steps_that_overflow_and_ends_where_none_can_be_done(
    tmp_path: Path,
) -> None:
    env = {**os.environ, **AT_IMPORT, "LOCAL_RANK": "0"}
    program = Program("tests.jobs.training.overflows", [str(tmp_path)], env)
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    stages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert len(stages) == 3
    for found in stages:
        # 2 * 65536 and 2 * 32768 are infinite; DeepSpeed halves its scale at the second one only.
        assert found["norms"] == [None] * 3 + [pytest.approx(4.0)] * 2
        assert found["weight"] == [[pytest.approx(1 - 2e-3, abs=1e-3)] * 2] * 2
        # From 2**14 down to 1, and nothing was updated on the way.
        assert found["skipped"] == 14
        assert "overflow float16 even where the loss is not scaled" in found["told"]
        assert found["after"] == found["weight"]


@pytest.mark.usefixtures("own_signals")
def test_skipped_steps_are_told_and_counted_and_the_run_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_engine, "LossScale", lambda: LossScale(2.0**21))
    job = world.job(model__dtype="float16", training__maxSteps=4)
    del job["spec"]["data"]["evaluation"]
    assert main(["mmdpo", "--job", str(world.write_job(job))]) == 0
    lines = (world.results() / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    skipped = [row["step"] for row in rows if row.get("skipped")]
    assert skipped
    assert len(skipped) < len(rows) == 4
    assert all(("gradientNorm" in row) == (row["step"] not in skipped) for row in rows)
    manifest = json.loads((world.results() / "manifest.json").read_text())
    assert manifest["skippedSteps"] == len(skipped)
    assert capsys.readouterr().out.count("a gradient overflowed float16") == len(skipped)

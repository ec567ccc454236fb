"""A loss that is not finite: the run stops, names the batch, and keeps its last checkpoint."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.models.loading import load_model
from tests.jobs.training.world import World, write_records

pytestmark = pytest.mark.usefixtures("own_signals")
KINDS = {"reward": "judge", "mmdpo": "tiny"}
WAITED = ("checkpointSeconds", "dataSeconds")
TIMED = {"seconds", "tokensPerSecond", "etaSeconds", "peakMemoryGiB", *WAITED}


def job_of(world: World, kind: str) -> dict[str, Any]:
    """Seven or eight steps of two micro-batches of two queries, and a checkpoint every second."""
    return world.reward_job() if kind == "reward" else world.job()


def run(world: World, kind: str) -> int:
    return main([kind, "--job", str(world.write_job(job_of(world, kind)))])


def rows_of_step(world: World, step: int) -> list[int]:
    """Rows in the file that a step of the first epoch takes."""
    data = RankedDataset.open(Source(str(world.folder / "data" / "train.jsonl")))
    batches = list(data.batches(seed=0, epoch=0, batch_size=4))
    return [record.location.row or 0 for record in batches[step - 1]]


def named_rows(message: str) -> list[int]:
    found = re.findall(r"train\.jsonl, row (\d+): record 'r(\d+)'", message)
    assert all(int(row) == int(record) + 1 for row, record in found)
    return [int(row) for row, _ in found]


def checkpoint(world: World, kind: str, step: int) -> dict[str, bytes]:
    """Files of the only complete checkpoint, which is that of a step."""
    folder = world.results(KINDS[kind]) / "checkpoints"
    (complete,) = folder.glob("step-*/complete")
    assert complete.parent.name.startswith(f"step-{step:08d}-")
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(world: World, kind: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The model and the series of a run that has ended."""
    results = world.results(KINDS[kind])
    lines = (results / "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]
    return load_file(results / "model" / "model.safetensors"), rows


Fault = Callable[[Any], None]


def spoil_states(output: Any) -> None:
    output.last_hidden_state = output.last_hidden_state * float("nan")


def spoil_gradients(output: Any) -> None:
    output.last_hidden_state.register_hook(lambda gradient: gradient * float("inf"))


def in_proof() -> bool:
    """Whether the proof before the first step makes the pass, and not a step."""
    return any(Path(frame.filename).stem == "proof" for frame in traceback.extract_stack())


@contextmanager
def fault(spoil: Fault, *, at: int) -> Iterator[None]:
    """What a bit that flips does: one of the decoder's forward passes in training goes wrong."""
    passes = 0

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal passes
        if type(module).__name__ == "Qwen2Model" and module.training and not in_proof():
            passes += 1
            if passes == at:
                spoil(output)

    handle = register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
    assert passes == at, "training stopped at the fault"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spoil", "says", "named"),
    [
        (spoil_states, "step 3: the loss is nan on ", 2),
        (spoil_gradients, "step 3: the gradient norm is nan on ", 4),
    ],
)
def test_a_passing_fault_costs_the_steps_since_the_checkpoint(
    world: World,
    template: World,
    tmp_path: Path,
    kind: str,
    spoil: Fault,
    says: str,
    named: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sixth pass is the second micro-batch of step 3; run again, nothing of it is left."""
    with fault(spoil, at=6):
        assert run(world, kind) == 1
    message = capsys.readouterr().err
    assert says in message
    assert "The last checkpoint is unharmed" in message
    rows = named_rows(message)
    assert len(rows) == named
    assert set(rows) <= set(rows_of_step(world, 3))
    checkpoint(world, kind, 2)
    assert not list((world.folder / "artifacts").rglob("manifest.json"))

    assert run(world, kind) == 0, capsys.readouterr().err
    attempts = json.loads((world.results(KINDS[kind]) / "attempts.json").read_text())
    assert [(one["exit"], one["toStep"]) for one in attempts] == [
        ("TrainingError", 2),
        ("Succeeded", 8),
    ]
    weights, series = left(world, kind)
    other = World.copy(template, tmp_path / "other")
    assert run(other, kind) == 0
    expected, expected_series = left(other, kind)
    assert series == expected_series
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def poison(world: World, row: int) -> None:
    """Make one token's embedding NaN, and let one critique of one row hold that token."""
    folder = world.folder / "model"
    tokenizer = load_model(folder, dtype="float32", attention="sdpa").adapter.chat.tokenizer
    (token,) = tokenizer("~", add_special_tokens=False)["input_ids"]
    weights = load_file(folder / "model.safetensors")
    (name,) = [name for name in weights if name.endswith("embed_tokens.weight")]
    weights[name][token] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[row - 1]["responses"][1]["critique"]["augmented"] += " ~"
    write_records(path, records)


def test_a_lasting_fault_ends_every_attempt_at_the_same_batch(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that the base model cannot read, in one row: the first steps do not see it."""
    before = rows_of_step(world, 3)
    poison(world, before[0])
    assert rows_of_step(world, 3) == before
    assert run(world, "reward") == 1
    first = capsys.readouterr().err
    assert "step 3: the loss is nan" in first
    assert before[0] in named_rows(first)
    assert set(named_rows(first)) <= set(before)
    kept = checkpoint(world, "reward", 2)

    assert run(world, "reward") == 1
    assert capsys.readouterr().err == first
    assert checkpoint(world, "reward", 2) == kept
    attempts = json.loads((world.results("judge") / "attempts.json").read_text())
    assert [(one["exit"], one["toStep"]) for one in attempts] == [("TrainingError", 2)] * 2


def test_reference_log_probabilities_must_be_finite(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """MM-DPO reads every response before it trains, so it finds such a token earlier."""
    poison(world, 5)
    path = world.folder / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[4]["responses"][2]["text"] += " ~"
    write_records(path, records)
    world.write_rewards(records)
    assert run(world, "mmdpo") == 2
    message = capsys.readouterr().err
    assert "the value of record 'r4', response 'c' is nan" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_that_is_too_high_is_told(
    world: World, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first step leaves weights that are finite and huge; the second one overflows."""
    job = job_of(world, kind)
    job["spec"] |= {
        "optimizer": {"learningRate": 1e30, "warmupRatio": 0.0},
        "checkpoint": {"everySteps": 1},
    }
    assert main([kind, "--job", str(world.write_job(job))]) == 1
    message = capsys.readouterr().err
    assert "step 2" in message
    assert "Lower optimizer.learningRate" in message
    assert set(named_rows(message)) <= set(rows_of_step(world, 2))
    checkpoint(world, kind, 1)
    (state,) = world.results(KINDS[kind]).glob("checkpoints/*/rank-0/*.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in load_file(state).values())

"""A few steps of a small module, on as many processes as there are, from its last checkpoint on.

``worlds.py FOLDER STAGE UNTIL OFFLOAD``: rank 0 prints a line of JSON for each number format, with
the losses, and the digests of the whole training state as it was found and as it is left.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmrlhf_api import Optimizer, Parallelism
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine

__all__ = ["ROWS", "go_on"]

ROWS = 8
"""Rows of a step, over all processes."""
DTYPES = ("float32", "bfloat16")
INPUTS = RunInputs("data", "rewards", "model", "template", "images", "spec")


class Net(nn.Module):
    """Two layers of odd sizes, with weights that are frozen."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(7, 11)
        self.frozen = nn.Linear(11, 11, bias=False).requires_grad_(requires_grad=False)
        self.second = nn.Linear(11, 3)
        self.to(dtype)

    def forward(self, groups: Sequence[torch.Tensor]) -> torch.Tensor:
        """The second layer's answers, float32[rows, 3]."""
        rows = torch.stack(list(groups)).to(self.first.weight.dtype)
        answers: torch.Tensor = self.second(torch.tanh(self.frozen(self.first(rows)))).float()
        return answers


def make(dtype: torch.dtype, stage: int, runtime: Runtime, offload: Any = "none") -> Any:
    settings = Optimizer(max_grad_norm=1.0, weight_decay=0.1)
    if stage == 0:
        return TorchEngine(Net(dtype), settings, runtime)
    from mmrlhf_jobs.training.engines.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(
        Net(dtype),
        settings,
        parallelism=Parallelism(zero_stage=stage, offload=offload),
        runtime=runtime,
        dtype=dtype,
    )


def step(engine: Any, number: int, runtime: Runtime) -> float:
    """One step on rows that its number alone decides; return the loss over all processes."""
    rows = torch.randn(ROWS, 7, generator=torch.Generator().manual_seed(number))
    own = rows[runtime.rank :: runtime.world_size]
    loss = (engine.forward(list(own)) ** 2).sum() / ROWS
    engine.backward(loss)
    assert engine.step(learning_rate=0.05) is not None
    return runtime.sum([float(loss.detach())])[0]


def digest(engine: Any, runtime: Runtime) -> str:
    """Of every number that is trained, and its moments, whoever holds it."""
    own = [
        [*fragment.span, kind, value.clone()]
        for fragment in engine.fragments()
        for kind, value in sorted(fragment.values.items())
    ]
    parts = runtime.gather(own)[: 1 if engine.replicated else None]
    state = hashlib.sha256()
    rows: dict[tuple[str, str], list[torch.Tensor]] = {}
    for name, _, _, kind, value in sorted(chain(*parts), key=lambda one: one[:4]):
        rows.setdefault((name, kind), []).append(value)
    for (name, kind), values in sorted(rows.items()):
        state.update(f"{name} {kind}".encode() + torch.cat(values).numpy().tobytes())
    return state.hexdigest()


def go_on(
    folder: Path, stage: int, until: int, runtime: Runtime, offload: str = "none"
) -> list[dict[str, Any]]:
    """Steps from the last checkpoint on, the last of which is saved; what is told of them."""
    return [_go_on(folder / dtype, dtype, stage, until, runtime, offload) for dtype in DTYPES]


def _go_on(
    folder: Path, dtype: str, stage: int, until: int, runtime: Runtime, offload: str
) -> dict[str, Any]:
    engine = make(getattr(torch, dtype), stage, runtime, offload)
    checkpoints = Checkpoints(
        ArtifactStore(str(folder / "store")),
        prefix="run",
        scratch=folder / f"scratch-{runtime.rank}",
        keep=1,
        runtime=runtime,
    )
    state = checkpoints.restore(engine, inputs=INPUTS, tell=print)
    found = digest(engine, runtime)
    start = 0 if state is None else state.step
    losses = [step(engine, number, runtime) for number in range(start, until)]
    weights = engine.weights()
    left = digest(engine, runtime)
    saved = CheckpointState(until, runtime.world_size, f"stage-{stage}", INPUTS)
    checkpoints.save(engine, saved)
    means = {name: float(value.double().mean()) for name, value in sorted(weights.items())}
    return {"losses": losses, "found": found, "left": left, "weights": means}


def main(folder: Path, stage: int, until: int, offload: str) -> None:
    runtime = Runtime.from_environment()
    for told in go_on(folder, stage, until, runtime, offload):
        if runtime.is_main:
            sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    runtime.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

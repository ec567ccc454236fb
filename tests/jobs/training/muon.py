"""What DeepSpeed's optimizer Muon costs those who do not use it, and does for those who do.

``muon.py FOLDER``: a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mmrlhf_api import Optimizer, Parallelism
from mmrlhf_jobs.training.engines.deepspeed_engine import DeepSpeedEngine
from tests.jobs.training.test_engines import ALONE, Weight, step

MUON = "deepspeed.runtime.zero.muon.muon_optimizer"


def train(stage: int) -> list[float | None]:
    """Two steps of our own optimizer."""
    engine: Any = DeepSpeedEngine(
        Weight(torch.float32),
        Optimizer(),
        parallelism=Parallelism(zero_stage=stage),
        runtime=ALONE,
        dtype=torch.float32,
    )
    return [step(engine, 2.0) for _ in range(2)]


def step_with_muon() -> list[float]:
    """Singular values of what one step of Muon changes a weight by."""
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    weight = torch.nn.Parameter(torch.zeros(6, 4))
    weight.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    group = {"params": [weight], "lr": 1.0, "momentum": 0.95, "weight_decay": 0.0}
    MuonWithAuxAdam([{**group, "use_muon": True}]).step()
    values: list[float] = torch.linalg.svdvals(weight.detach()).tolist()
    return values


def main(folder: Path) -> None:
    compiled: list[str] = []
    compiler = torch.compile

    def record(function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile by the backend that takes no C++ compiler."""
        compiled.append(function.__name__)
        return compiler(function, backend="eager")

    torch.compile = record  # type: ignore[assignment]
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    norms = [train(stage) for stage in (1, 2, 3)]
    at_rest = {"muon": MUON in sys.modules, "compiled": list(compiled)}
    values = step_with_muon()
    print(json.dumps({"norms": norms, "at_rest": at_rest, "values": values, "compiled": compiled}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

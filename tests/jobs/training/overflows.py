"""What DeepSpeed itself does where gradients overflow float16.

``overflows.py FOLDER``: a line of JSON for each stage. On CPUs that do not say that they compute in
float16 DeepSpeed refuses to begin, so one that does say so is put in their place: all that comes
after is DeepSpeed's own, on tensors of the CPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

from mmrlhf_api import Optimizer, Parallelism
from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.training.engines.deepspeed_engine import DeepSpeedEngine
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from tests.jobs.training.state_files import write
from tests.jobs.training.test_engines import ALONE, Weight, step


def run(stage: int, folder: Path) -> dict[str, Any]:
    """Steps of gradients that are too large for the first scales, then of infinite ones.

    In between another engine takes over: where its scale were another, it would skip more steps.
    """
    engine = _engine(stage)
    norms = [step(engine, 2.0) for _ in range(5)]
    engine = _reloaded(engine, stage, folder)
    weight = _weight(engine)
    skipped = 0
    try:
        while step(engine, float("inf")) is None:
            skipped += 1
    except TrainingError as error:
        told = str(error)
    after = _weight(engine)
    return {"norms": norms, "weight": weight, "skipped": skipped, "told": told, "after": after}


def _weight(engine: Any) -> list[float]:
    with engine.weights() as weights:
        found: list[float] = weights["weight"].read().tolist()
    return found


def _engine(stage: int) -> Any:
    return DeepSpeedEngine(
        Weight(torch.float16),
        Optimizer(max_grad_norm=1e9),
        parallelism=Parallelism(zero_stage=stage),
        runtime=ALONE,
        dtype=torch.float16,
    )


def _reloaded(engine: Any, stage: int, folder: Path) -> Any:
    place = folder / f"stage-{stage}"
    place.mkdir()
    write(engine.fragments(), place)
    other = _engine(stage)
    other.load(SavedState(place.iterdir(), {"weight": 4}), engine.counters())
    assert other.counters() == engine.counters()
    return other


def main(folder: Path) -> None:
    CPU_Accelerator.is_fp16_supported = lambda _: True
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    # Stage 3 changes a function of torch for the rest of the process.
    for stage in (1, 2, 3):
        print(json.dumps(run(stage, folder)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

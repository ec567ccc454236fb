"""A few steps of small models, on as many processes as there are, from their last checkpoints on.

``worlds.py MODEL FOLDER STAGE UNTIL OFFLOAD``: rank 0 prints a line of JSON for each of `CASES`,
with the losses, and the digests of the whole training state as it was found and as it is left.
"""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs
from tests.jobs.training.divided import Begun, begin

__all__ = ["CASES", "INPUTS", "STEPS", "begin_with", "digest", "go_on"]

CASES: tuple[dict[str, Any], ...] = (
    {"kind": "MMDPOJob", "lora": True, "dtype": "float32"},
    {"kind": "RewardTrainJob", "lora": False, "dtype": "bfloat16"},
)
STEPS = 12
"""Of a whole training."""
INPUTS = RunInputs("data", "rewards", "model", "template", "images", "spec")


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


def begin_with(
    model: Path, case: dict[str, Any], stage: int, runtime: Runtime, offload: str = "none"
) -> Begun:
    """A training of a model; stage 0 is plain torch."""
    parallelism = {"zeroStage": stage, "offload": offload} if stage else {"engine": "none"}
    given = {**case, "folder": str(model), "parallelism": parallelism}
    return begin(given, runtime, steps=STEPS)


def go_on(
    model: Path, folder: Path, stage: int, until: int, runtime: Runtime, offload: str = "none"
) -> list[dict[str, Any]]:
    """Steps from the last checkpoints on, the last of which is saved; what is told of them."""
    begun = [begin_with(model, case, stage, runtime, offload) for case in CASES]
    return [
        _go_on(folder / str(number), one, stage, until, runtime) for number, one in enumerate(begun)
    ]


def _go_on(folder: Path, begun: Begun, stage: int, until: int, runtime: Runtime) -> dict[str, Any]:
    engine = begun.engine
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
    losses = [begun.step(number).loss for number in range(start, until)]
    with engine.weights() as weights:
        means = {name: float(one.read().double().mean()) for name, one in sorted(weights.items())}
    left = digest(engine, runtime)
    saved = CheckpointState(until, runtime.world_size, f"stage-{stage}", INPUTS)
    checkpoints.save(engine, saved)
    return {"losses": losses, "found": found, "left": left, "weights": means}


def main(model: Path, folder: Path, stage: int, until: int, offload: str) -> None:
    runtime = Runtime.from_environment()
    for told in go_on(model, folder, stage, until, runtime, offload):
        if runtime.is_main:
            sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    runtime.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])

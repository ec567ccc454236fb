"""A job of five steps that reduces over a real gloo group and keeps the launcher's protocol.

``STUB_MODE`` chooses how it ends: ok, alone (ok, in no group), invalid (exit 2), crash (an
exception without a message for the launcher), killed (SIGKILL), hang (until SIGTERM), straggler
(rank 1 ignores that rank 0 died).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

mode = os.environ.get("STUB_MODE", "ok")
rank = int(os.environ["RANK"])
world = int(os.environ["WORLD_SIZE"])
if world > 1 or mode == "ok":  # torch takes seconds to import
    import torch
    import torch.distributed as dist
spec = json.loads(Path(os.environ["MMRLHF_JOB"]).read_text())["spec"]


def emit(**event: object) -> None:
    if rank == 0:
        with Path(os.environ["MMRLHF_PROGRESS_FILE"]).open("a") as file:
            file.write(json.dumps(event) + "\n")


def end(code: int, reason: str, message: str) -> None:
    path = Path(os.environ["MMRLHF_TERMINATION_FILE"])
    own = path.with_name(f"{path.name}.{os.getpid()}")
    own.write_text(json.dumps({"exitCode": code, "reason": reason, "message": message}))
    with contextlib.suppress(FileExistsError):
        os.link(own, path)
    own.unlink()
    sys.exit(code)


def save_and_stop(*_: object) -> None:
    time.sleep(float(os.environ.get("STUB_SAVE_SECONDS", "0.5")))
    Path(os.environ["STUB_SAVED"]).with_suffix(f".{rank}").write_text("saved")
    end(143, "Interrupted", "saved a checkpoint at step 2")


emit(event="phase", phase="start", message=f"{sys.argv[1:]}")
if mode == "invalid" and rank == 0:
    end(2, "InvalidInput", "data.jsonl, row 3: no responses; add two at least")
if mode == "crash" and rank == int(os.environ.get("STUB_RANK", "0")):
    raise RuntimeError("boom")
if mode == "killed" and rank == 0:
    os.kill(os.getpid(), signal.SIGKILL)
if mode in {"straggler", "killed", "invalid", "crash"}:
    time.sleep(600)
if mode == "hang":
    signal.signal(signal.SIGTERM, save_and_stop)
    dist.init_process_group("gloo")
    dist.barrier()  # what is told is true of all ranks
    dist.destroy_process_group()
    emit(event="step", step=2, totalSteps=5)
    time.sleep(600)

if mode == "ok":
    dist.init_process_group("gloo")
steps = int(spec["training"]["epochs"]) * 5
for step in range(1, steps + 1):
    total = float(rank)
    if mode == "ok":
        shared = torch.tensor([total])
        dist.all_reduce(shared)
        total = shared.item()
    emit(
        event="step",
        step=step,
        totalSteps=steps,
        loss=1 / step,
        margin=0.1 * step,
        accuracy=0.5,
        tokensPerSecond=1234.0,
        etaSeconds=60.0 * (steps - step),
    )
emit(event="notice", message="one row was skipped")
print(f"rank {rank} says hello on stdout")
result = {
    "sum": total,
    "world": float(dist.get_world_size() if mode == "ok" else world),
    "threads": float(os.environ["OMP_NUM_THREADS"]),
    "fresh": float(os.environ.get("MMRLHF_FRESH", "0")),
}
emit(event="done", artifacts=spec["artifacts"]["uri"], metrics=result)
if mode == "ok":
    dist.destroy_process_group()

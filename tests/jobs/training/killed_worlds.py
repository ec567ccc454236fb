"""Steps of a small reward model with an adapter, with a checkpoint after each, until one is killed.

``killed_worlds.py MODEL FOLDER STAGE UNTIL KILLED``: rank 0 prints a line of JSON after each step,
with its loss and the digest of the whole training state. ``KILLED`` is ``RANK:STEP:CALL``, the call
to the store in the checkpoint of a step at which that rank is killed, or ``-``. At call 0 nobody
is, and the last line tells how many calls each process has made.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState
from tests.jobs.training.worlds import INPUTS, begin_with, digest
from tests.unit.storage import writers

CASE = {"kind": "RewardTrainJob", "lora": True}


class Death(writers.Gate):
    """Lets so many calls pass, and then kills the process."""

    def pass_through(self) -> None:
        self.calls += 1
        if self.calls == self.kill_at:
            self.die()

    def die(self) -> None:
        """Kill the process."""
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def go_on(model: Path, folder: Path, stage: int, until: int, killed: str, runtime: Runtime) -> None:
    """Steps from the last checkpoint on."""
    begun = begin_with(model, CASE, stage, runtime)
    engine = begun.engine
    root = ArtifactStore(str(folder / "store"))
    claim = Claim(root, "run/claim.json")
    claim.join(runtime.on_main(claim.take))
    checkpoints = Checkpoints(
        root.guarded(claim.check),
        prefix="run",
        scratch=folder / f"scratch-{runtime.rank}",
        keep=1,
        runtime=runtime,
        counts=claim.holder.counts,
    )
    state = checkpoints.restore(engine, inputs=INPUTS, tell=print)
    start = 0 if state is None else state.step
    tell(runtime, step=start, loss=None, state=digest(engine, runtime))
    rank, at, call = (-1, -1, -1) if killed == "-" else map(int, killed.split(":"))
    for number in range(start, until):
        loss = begun.step(number).loss
        tell(runtime, step=number + 1, loss=loss, state=digest(engine, runtime))
        counting = call == 0 and number + 1 == at
        if counting or (runtime.rank, number + 1) == (rank, at):
            gate = die(folder / "store", call)
        saved = CheckpointState(
            number + 1, runtime.world_size, f"stage-{stage}", INPUTS, attempt=claim.holder.name
        )
        checkpoints.save(engine, saved)
        if not counting and (runtime.rank, number + 1) == (rank, at):
            gate.die()  # it has made fewer calls this time: how often one waits differs
        if counting:
            tell(runtime, calls=runtime.gather(gate.calls))


def die(store: Path, call: int) -> Death:
    """Be killed at a call to the store, whichever thread makes it."""
    gate = Death(kill_at=call)
    writers.hook_files(pytest.MonkeyPatch(), store)
    writers.pass_gate = lambda: gate
    return gate


def tell(runtime: Runtime, **fields: object) -> None:
    if runtime.is_main:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    own = Runtime.from_environment()
    model, folder, stage, until, killed = sys.argv[1:]
    go_on(Path(model), Path(folder), int(stage), int(until), killed, own)
    own.leave()

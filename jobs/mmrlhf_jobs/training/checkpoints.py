"""Checkpoints: the whole state of a training, visible only when complete.

A checkpoint is the key ``checkpoints/step-00000100`` of the run's artifacts: one part a process
(``rank-0``, ``rank-1``, ...), each published whole, and then ``complete`` with the state that all
share. ``complete`` comes last, so a checkpoint without it does not exist.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.engines.interface import Engine

__all__ = ["CheckpointState", "Checkpoints", "RunInputs"]

_KEY = re.compile(r"step-(\d{8})/complete$")


@dataclass(frozen=True)
class RunInputs:
    """Digests of what a run is made from; a checkpoint continues the same inputs or none."""

    train_data: str
    rewards: str
    model: str
    template: str
    image_settings: str
    spec: str

    def differences(self, other: RunInputs) -> list[str]:
        """Names of the inputs that differ."""
        mine, theirs = asdict(self), asdict(other)
        return [name.replace("_", " ") for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True)
class CheckpointState:
    """What all processes share at a step.

    Attributes:
        step: Optimizer steps done.
        world_size: Processes that saved their parts.
        engine: Engine that saved, ``torch`` or ``deepspeed-<stage>``.
        inputs: What the run is made from.
        objective: State of the objective, such as the moving mean of implicit beta.
        metrics: Text of ``metrics.jsonl`` up to this step.
    """

    step: int
    world_size: int
    engine: str
    inputs: RunInputs
    objective: dict[str, float] = field(default_factory=dict)
    metrics: str = ""


class Checkpoints:
    """Saves, finds and restores the checkpoints of one run.

    Args:
        store: Artifacts.
        prefix: Key of the run in them.
        scratch: Local folder of this process for files on their way.
        keep: Complete checkpoints to keep.
        runtime: Process group.
    """

    def __init__(
        self, store: ArtifactStore, *, prefix: str, scratch: Path, keep: int, runtime: Runtime
    ) -> None:
        self._store = store
        self._prefix = f"{prefix}/checkpoints"
        self._scratch = scratch
        self._keep = keep
        self._runtime = runtime

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        found = (_KEY.search(key) for key in self._store.list_committed(self._prefix))
        return sorted(int(match.group(1)) for match in found if match)

    def save(self, engine: Engine[Any], state: CheckpointState) -> None:
        """Save on every process, then make the checkpoint visible and drop the oldest ones.

        Raises:
            StorageError: The artifacts cannot be written; older checkpoints stay.
        """
        key = self._key(state.step)
        local = self._fresh_scratch()
        engine.save(local)
        part = f"{key}/rank-{self._runtime.rank}"
        # Left over by a save that was killed before it was complete.
        self._store.remove(part)
        self._store.publish(local, part)
        self._runtime.wait()
        if self._runtime.is_main:
            shared = self._fresh_scratch()
            (shared / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
            self._store.publish(shared, f"{key}/complete")
            for step in self.steps()[: -self._keep]:
                self.remove(step)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._runtime.wait()

    def latest(self, *, world_size: int, engine: str, inputs: RunInputs) -> CheckpointState | None:
        """State of the newest complete checkpoint, or None if there is none.

        Raises:
            SpecError: It was made from other inputs, or by another number of processes.
        """
        steps = self.steps()
        if not steps:
            return None
        key = f"{self._key(steps[-1])}/complete"
        local = self._fresh_scratch()
        self._store.fetch(key, local)
        content: dict[str, Any] = json.loads((local / "state.json").read_text(encoding="utf-8"))
        shutil.rmtree(self._scratch, ignore_errors=True)
        state = CheckpointState(**{**content, "inputs": RunInputs(**content["inputs"])})
        changed = state.inputs.differences(inputs)
        if changed:
            raise SpecError(
                f"the checkpoint of step {state.step} in {self._store.uri}/{key} was made from "
                f"another {' and '.join(changed)}: restore the inputs, or start over with "
                "checkpoint.resume: none"
            )
        if (state.world_size, state.engine) != (world_size, engine):
            raise SpecError(
                f"the checkpoint of step {state.step} in {self._store.uri}/{key} was made by "
                f"{state.world_size} process(es) with engine {state.engine}, this run has "
                f"{world_size} with {engine}: run it as before, or start over with "
                "checkpoint.resume: none"
            )
        return state

    def restore(self, engine: Engine[Any], state: CheckpointState) -> None:
        """Load the parts of this process (and of rank 0, which DeepSpeed reads everywhere)."""
        local = self._fresh_scratch()
        for rank in sorted({0, self._runtime.rank}):
            part = local / f"rank-{rank}"
            self._store.fetch(f"{self._key(state.step)}/rank-{rank}", part)
            _merge(part, local)
        engine.load(local)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._runtime.wait()

    def remove(self, step: int) -> None:
        """Remove a checkpoint, its visibility first."""
        key = self._key(step)
        self._store.remove(f"{key}/complete")
        self._store.remove(key)

    def clear(self) -> None:
        """Remove everything, complete or not."""
        for step in self.steps():
            self.remove(step)
        self._store.remove(self._prefix)

    def _key(self, step: int) -> str:
        return f"{self._prefix}/step-{step:08d}"

    def _fresh_scratch(self) -> Path:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        return self._scratch


def _merge(source: Path, target: Path) -> None:
    """Move all files of a folder into another one, at the same relative paths."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            destination = target / path.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            path.replace(destination)
    shutil.rmtree(source)

"""Checkpoints: the whole state of a training, visible only when complete.

A checkpoint is the key ``checkpoints/step-00000100`` of the run's artifacts: one part a process
(``rank-0``, ``rank-1``, ...), each published whole, and then ``complete`` with the state that all
share and the digest of every part. ``complete`` comes last, so a checkpoint without it does not
exist; and one whose parts are not those that it lists is damaged, and an older one is taken.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from mmrlhf_jobs.errors import DamagedError, SpecError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.engines.interface import Engine

__all__ = ["CheckpointState", "Checkpoints", "RunInputs"]

_KEY = re.compile(r"step-(\d{8})/complete$")
_STATE = "state.json"


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


@dataclass(frozen=True)
class _Complete:
    """Content of ``complete``: the shared state, and the digest of each process's part by rank."""

    state: CheckpointState
    parts: tuple[str, ...]

    def encode(self) -> str:
        return json.dumps({**asdict(self.state), "parts": self.parts})

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        try:
            content = json.loads(text)
            parts = tuple(str(digest) for digest in content.pop("parts"))
            inputs = RunInputs(**content.pop("inputs"))
            state = CheckpointState(**content, inputs=inputs)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"{where} does not list its parts as it should ({error})") from error
        if len(parts) != state.world_size:
            raise DamagedError(f"{where} lists {len(parts)} parts of {state.world_size} processes")
        return cls(state, parts)


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
        parts = self._runtime.gather(self._store.publish(local, part))
        if self._runtime.is_main:
            shared = self._fresh_scratch()
            text = _Complete(state, tuple(parts)).encode()
            (shared / _STATE).write_text(text, encoding="utf-8")
            self._store.publish(shared, f"{key}/complete")
            for step in self.steps()[: -self._keep]:
                self.remove(step)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._runtime.wait()

    def restore(
        self,
        engine: Engine[Any],
        *,
        name: str,
        inputs: RunInputs,
        tell: Callable[[str], None],
    ) -> CheckpointState | None:
        """Load the newest checkpoint that is whole; return its state, or None if there is none.

        Every process must call it. Newer ones that are damaged are told and removed: the training
        makes them again.

        Args:
            engine: What to load into.
            name: Name of the engine.
            inputs: What this run is made from.
            tell: Takes a sentence for each that is damaged; called on every process.

        Raises:
            SpecError: It was made from other inputs, or by another number of processes.
            TrainingError: It holds something else than the engine's tensors.
        """
        damaged: list[int] = []
        found = None
        for step in reversed(self._runtime.on_main(self.steps)):
            fault, text = self._runtime.on_main(partial(self._open, step))
            if not fault:
                complete = _Complete.parse(text, self._where(step))
                self._check_fits(complete.state, name=name, inputs=inputs)
                faults = self._runtime.gather(self._fetch_parts(step, complete.parts))
                fault = next((fault for fault in faults if fault), "")
                if not fault:
                    found = complete.state
                    break
            tell(f"the checkpoint of step {step} cannot be used and is removed: {fault}")
            damaged.append(step)
        if found is not None:
            engine.load(self._scratch)
        self._runtime.on_main(lambda: self._remove_all(damaged))
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._runtime.wait()
        return found

    def _open(self, step: int) -> tuple[str, str]:
        """What is wrong with ``complete`` of a step, and its content."""
        local = self._fresh_scratch()
        try:
            self._store.fetch(f"{self._key(step)}/complete", local)
            text = (local / _STATE).read_text(encoding="utf-8")
            _Complete.parse(text, self._where(step))
        except (DamagedError, FileNotFoundError, UnicodeError) as error:
            return str(error), ""
        return "", text

    def _fetch_parts(self, step: int, parts: Sequence[str]) -> str:
        """Fetch the parts that this process reads into the scratch folder; say what is wrong.

        DeepSpeed reads the part of rank 0 everywhere.
        """
        local = self._fresh_scratch()
        for rank in sorted({0, self._runtime.rank}):
            part = local / f"rank-{rank}"
            try:
                self._store.fetch(f"{self._key(step)}/rank-{rank}", part, digest=parts[rank])
            except DamagedError as error:
                return str(error)
            _merge(part, local)
        return ""

    def _check_fits(self, state: CheckpointState, *, name: str, inputs: RunInputs) -> None:
        where = f"the checkpoint of step {state.step} in {self._where(state.step)}"
        if changed := state.inputs.differences(inputs):
            raise SpecError(
                f"{where} was made from another {' and '.join(changed)}: restore the inputs, or"
                " start over with checkpoint.resume: none"
            )
        world_size = self._runtime.world_size
        if (state.world_size, state.engine) != (world_size, name):
            raise SpecError(
                f"{where} was made by {state.world_size} process(es) with engine {state.engine},"
                f" this run has {world_size} with {name}: run it as before, or start over with"
                " checkpoint.resume: none"
            )

    def _remove_all(self, steps: Sequence[int]) -> None:
        for step in steps:
            self.remove(step)

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

    def _where(self, step: int) -> str:
        return f"{self._store.uri}/{self._key(step)}/complete"

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

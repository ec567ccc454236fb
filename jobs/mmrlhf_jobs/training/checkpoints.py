"""Checkpoints: the whole state of a training, visible only when complete.

A checkpoint is the key ``checkpoints/step-00000100-<attempt>`` of the run's artifacts: one part a
process (``rank-0``, ``rank-1``, ...), each published whole, and then ``complete`` with the state
that all share and the digest of every part. ``complete`` comes last, so a checkpoint without it
does not exist; and one whose parts are not those that it lists is damaged, and an older one is
taken. The attempt in its name keeps the parts of two attempts apart, whatever they do at once.
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
from mmrlhf_jobs.storage.claims import Holder
from mmrlhf_jobs.storage.marker import digest_of_files
from mmrlhf_jobs.training.engines.interface import Engine

__all__ = ["CheckpointState", "Checkpoints", "RunInputs", "misfit"]

_KEY = re.compile(r"(step-(\d{8})(?:-([\w-]+))?)/(complete|rank-\d+)$")
_STATE = "state.json"
_SPLIT = "deepspeed-3"
_DIVISIBLE = ("torch", "deepspeed-1", "deepspeed-2")
"""Engines whose checkpoints any number of processes can go on from. Of plain torch rank 0 writes
everything."""


@dataclass(frozen=True)
class RunInputs:
    """Digests of what a run is made from; a checkpoint continues the same inputs or none."""

    train_data: str
    rewards: str
    model: str
    template: str
    image_settings: str
    spec: str
    older_spec: str = field(default="", compare=False)
    """Digest of the whole spec, resources and all, as older versions took it."""

    def to_dict(self) -> dict[str, str]:
        """For the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "older_spec"}

    def differences(self, other: RunInputs) -> list[str]:
        """Names of the inputs that differ from those of a run."""
        mine, theirs = self.to_dict(), other.to_dict()
        if self.spec == other.older_spec:
            mine["spec"] = other.spec
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
        attempt: Name of the attempt that saved; empty in checkpoints of older versions.
        skipped: Steps that updated nothing, because a gradient overflowed float16.
    """

    step: int
    world_size: int
    engine: str
    inputs: RunInputs
    objective: dict[str, float] = field(default_factory=dict)
    metrics: str = ""
    attempt: str = ""
    skipped: int = 0

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return f"step-{self.step:08d}" + (f"-{self.attempt}" if self.attempt else "")


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
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
        attempt: Name of this attempt.
        counts: Whether checkpoints of the attempt with a claim of some number are taken.
    """

    def __init__(
        self,
        store: ArtifactStore,
        *,
        prefix: str,
        scratch: Path,
        keep: int,
        runtime: Runtime,
        attempt: str = "",
        counts: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._store = store
        self._prefix = f"{prefix}/checkpoints"
        self._scratch = scratch
        self._keep = keep
        self._runtime = runtime
        self._attempt = attempt
        self._counts = counts

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return [step for step, _ in self._complete()]

    def save(self, engine: Engine[Any], state: CheckpointState) -> None:
        """Save on every process, then make the checkpoint visible and drop the oldest ones.

        Raises:
            StorageError: The artifacts cannot be written; older checkpoints stay.
        """
        key = f"{self._prefix}/{state.name}"
        local = self._fresh_scratch()
        engine.save(local)
        part = f"{key}/rank-{self._runtime.rank}"
        parts = self._runtime.gather(digest_of_files(self._store.publish(local, part)))
        if self._runtime.is_main:
            shared = self._fresh_scratch()
            text = _Complete(state, tuple(parts)).encode()
            (shared / _STATE).write_text(text, encoding="utf-8")
            self._store.publish(shared, f"{key}/complete")
            self._tidy()
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
        damaged: list[str] = []
        found = None
        for step, key in reversed(self._runtime.on_main(self._complete)):
            fault, text = self._runtime.on_main(partial(self._open, key))
            if not fault:
                complete = _Complete.parse(text, self._where(key))
                self._check_fits(complete.state, name=name, inputs=inputs)
                faults = self._runtime.gather(self._fetch_parts(key, complete.parts))
                fault = next((fault for fault in faults if fault), "")
                if not fault:
                    found = complete.state
                    break
            tell(f"the checkpoint of step {step} cannot be used and is removed: {fault}")
            damaged.append(key)
        if found is not None:
            engine.load(self._scratch)
        self._runtime.on_main(lambda: self._remove_all(damaged))
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._runtime.wait()
        return found

    def newest(self) -> tuple[CheckpointState | None, str]:
        """State of the newest complete checkpoint, or what is wrong with it; changes nothing.

        Every process must call it.
        """

        def look() -> tuple[str, str]:
            whole = self._complete()
            return self._open(whole[-1][1]) if whole else ("it is gone by now", "")

        fault, text = self._runtime.on_main(look)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if fault:
            return None, f"is damaged: {fault}"
        return _Complete.parse(text, self._prefix).state, ""

    def refuse_other_processes(self, *, name: str) -> None:
        """Refuse a run that cannot go on for its engine or its number of processes.

        Every process must call it. It reads the checkpoint's state alone and changes nothing, so
        that nobody waits for a model and a reference to be told. `restore` looks at all else.

        Args:
            name: Name of the engine.

        Raises:
            SpecError: They are others than those of the newest checkpoint, and must not be.
        """
        state, _ = self.newest()
        if state is not None:
            self._check_fits(state, name=name, inputs=state.inputs)

    def load(self, engine: Engine[Any], state: CheckpointState) -> str:
        """Load one of another run; say what is wrong with it, in which case nothing is loaded.

        Every process must call it. Nothing of the other run is changed.
        """
        fault, text = self._runtime.on_main(partial(self._open, state.name))
        if not fault:
            parts = _Complete.parse(text, self._where(state.name)).parts
            faults = self._runtime.gather(self._fetch_parts(state.name, parts))
            fault = next((fault for fault in faults if fault), "")
        if not fault:
            engine.load(self._scratch)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return f"is damaged: {fault}" if fault else ""

    def _open(self, key: str) -> tuple[str, str]:
        """What is wrong with ``complete`` of a checkpoint, and its content."""
        local = self._fresh_scratch()
        try:
            self._store.fetch(f"{self._prefix}/{key}/complete", local)
            text = (local / _STATE).read_text(encoding="utf-8")
            _Complete.parse(text, self._where(key))
        except DamagedError as error:
            return str(error), ""
        except (FileNotFoundError, UnicodeError) as error:
            return f"{self._where(key)} holds no state that can be read ({error})", ""
        return "", text

    def _fetch_parts(self, key: str, parts: Sequence[str]) -> str:
        """Fetch the parts that this process reads into the scratch folder; say what is wrong.

        DeepSpeed reads the part of rank 0 everywhere, and where the number of processes has changed
        those that hold what is this process's now.
        """
        local = self._fresh_scratch()
        for rank in sorted({0, *_overlaps(self._runtime, len(parts))}):
            part = local / f"rank-{rank}"
            try:
                self._store.fetch(f"{self._prefix}/{key}/rank-{rank}", part, digest=parts[rank])
            except DamagedError as error:
                return str(error)
            _merge(part, local)
        return ""

    def _check_fits(self, state: CheckpointState, *, name: str, inputs: RunInputs) -> None:
        if fault := misfit(state, name=name, inputs=inputs, world_size=self._runtime.world_size):
            raise SpecError(
                f"the checkpoint of step {state.step} in {self._where(state.name)} {fault}: make it"
                " as it was, or start over with checkpoint.resume: none"
            )

    def clear(self) -> None:
        """Remove everything, complete or not."""
        self._remove_all([key for _, key in self._complete()])
        self._store.remove(self._prefix)

    def _tidy(self) -> None:
        """Remove the oldest, and what other attempts began to save and will not go on with."""
        parts = self._parts()
        whole = [key for key, found in sorted(parts.items()) if {"complete", "rank-0"} <= found]
        self._remove_all([name for _, name, _ in whole[: -self._keep]])
        for _, name, attempt in sorted(parts.keys() - set(whole)):
            if attempt != self._attempt:
                self._store.remove(f"{self._prefix}/{name}")

    def _remove_all(self, names: Sequence[str]) -> None:
        """Remove checkpoints, their visibility first."""
        for name in names:
            self._store.remove(f"{self._prefix}/{name}/complete")
            self._store.remove(f"{self._prefix}/{name}")

    def _complete(self) -> list[tuple[int, str]]:
        """Step and name of the complete checkpoints, oldest first."""
        found = self._parts().items()
        return sorted((step, name) for (step, name, _), parts in found if "complete" in parts)

    def _parts(self) -> dict[tuple[int, str, str], set[str]]:
        """Published parts of each checkpoint, by its step, name and attempt."""
        found: dict[tuple[int, str, str], set[str]] = {}
        for key in self._store.list_committed(self._prefix):
            if match := _KEY.search(key):
                name, step, attempt, part = match.groups(default="")
                if self._counts(Holder.number_in(attempt)):
                    found.setdefault((int(step), name, attempt), set()).add(part)
        return found

    def _where(self, name: str) -> str:
        return f"{self._store.uri}/{self._prefix}/{name}/complete"

    def _fresh_scratch(self) -> Path:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        return self._scratch


def misfit(state: CheckpointState, *, name: str, inputs: RunInputs, world_size: int) -> str | None:
    """Why a run cannot go on with a checkpoint, as the rest of a sentence; None: it can.

    Args:
        state: State of the checkpoint.
        name: Name of the run's engine.
        inputs: What the run is made from.
        world_size: Number of its processes.
    """
    if changed := state.inputs.differences(inputs):
        return f"was made from another {' and '.join(changed)}"
    if state.engine != name or (state.world_size != world_size and name not in _DIVISIBLE):
        made = (
            f"was made by {state.world_size} process(es) with engine {state.engine}, this run has "
            f"{world_size} with {name}"
        )
        if state.engine == name == _SPLIT:
            made += " (ZeRO 3 splits each weight by their number, and goes on with as many)"
        return made
    return None


def _overlaps(runtime: Runtime, before: int) -> range:
    """Parts that hold the share of a process, where other processes held equal shares before.

    Shares are of one length but for a few zeros, so a part more on each side may be touched.
    """
    if runtime.world_size == before:
        return range(runtime.rank, runtime.rank + 1)
    first = runtime.rank * before // runtime.world_size - 1
    last = -(-(runtime.rank + 1) * before // runtime.world_size)
    return range(max(first, 0), min(last, before - 1) + 1)


def _merge(source: Path, target: Path) -> None:
    """Move all files of a folder into another one, at the same relative paths."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            destination = target / path.relative_to(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            path.replace(destination)
    shutil.rmtree(source)

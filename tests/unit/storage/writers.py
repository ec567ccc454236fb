"""A run as its writers go through it, and writers that are stopped or killed at a storage call."""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from mmrlhf_api.runs import RunLayout
from mmrlhf_jobs.errors import JobError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.storage.results import Results
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs
from mmrlhf_jobs.training.engines.state import MASTER, Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from mmrlhf_jobs.training.publication import publish_model
from tests.patience import PATIENCE

__all__ = ["LAYOUT", "Gate", "Killed", "Writer", "hook_files", "look", "pass_gate", "work"]

LAYOUT: Final = RunLayout("default/align/uid-1")
INPUTS: Final = RunInputs("data", "rewards", "model", "template", "images", "spec")
RUNTIME: Final = Runtime(0, 1, torch.device("cpu"))
_GATE: ContextVar[Gate | None] = ContextVar("gate", default=None)


class Killed(Exception):  # noqa: N818 - no error of ours
    """The process of a writer is no more."""


@dataclass
class Gate:
    """Counts the storage calls of one writer, and stops or kills it before one of them.

    Attributes:
        stop_at: Call before which it is stopped until `go` is set, from 1.
        kill_at: Call before which it is killed.
        calls: Calls so far.
    """

    stop_at: int | None = None
    kill_at: int | None = None
    calls: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def pass_through(self) -> None:
        self.calls += 1
        if self.kill_at is not None and self.calls >= self.kill_at:
            raise Killed
        if self.calls == self.stop_at:
            self.reached.set()
            assert self.go.wait(120 * PATIENCE), "nobody lets the writer go"


def pass_gate() -> Gate | None:
    """The gate of the writer that asks, if it has one."""
    return _GATE.get()


class Writer(threading.Thread):
    """An attempt of its own, as if in another process."""

    def __init__(self, act: Callable[[], object], gate: Gate) -> None:
        super().__init__(daemon=True)
        self._act = act
        self.gate = gate
        self.error: BaseException | None = None

    def run(self) -> None:
        _GATE.set(self.gate)
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001 - told by `end`
            self.error = error
        self.gate.reached.set()

    def end(self) -> BaseException | None:
        """Wait for its end; return the error that it ended by."""
        self.gate.go.set()
        self.join(120 * PATIENCE)
        assert not self.is_alive()
        return self.error


class _Engine:
    """Has a word for a state."""

    replicated = True

    def __init__(self, word: str) -> None:
        self._word = word

    def fragments(self) -> list[Fragment]:
        row = torch.tensor([float(byte) for byte in self._word.ljust(8).encode()])
        return [Fragment("word", 0, {MASTER: row})]

    def counters(self) -> dict[str, float]:
        return {}

    def load(self, saved: SavedState, counters: Mapping[str, float]) -> None:
        saved.read("word", 0, 8)
        assert not counters


def work(
    root: ArtifactStore, word: str, scratch: Path, *, steps: int = 1, fresh: bool = False
) -> None:
    """One attempt from its start to its end, with the steps of a `Trainer`.

    Args:
        root: Artifacts.
        word: What all files of its results hold.
        scratch: Local folder of its own.
        steps: Steps, each with a checkpoint.
        fresh: Forget earlier attempts.
    """
    claim = Claim(root, LAYOUT.claim)
    store = root.guarded(claim.check)
    results = Results(store, LAYOUT.prefix, claim)
    clock = _clock(word)
    attempts = Attempts(store, LAYOUT.attempts, clock, results.replace_text)
    store.check_writable()
    claim.take(fresh=fresh)
    checkpoints = Checkpoints(
        store,
        prefix=LAYOUT.prefix,
        scratch=scratch / "checkpoint",
        keep=1,
        runtime=RUNTIME,
        counts=claim.holder.counts,
    )
    if fresh:
        checkpoints.clear()
    results.settle()
    finished = results.finished(model=LAYOUT.model)
    if finished is not None and finished.missing is None:
        checkpoints.clear()
        return
    attempts.begin(processes=1, fresh=fresh)
    try:
        found = checkpoints.restore(
            _Engine(word),  # type: ignore[arg-type]
            inputs=INPUTS,
            tell=_refuse,
        )
        for step in range(1 if found is None else found.step + 1, steps + 1):
            state = CheckpointState(step, 1, "torch", INPUTS, attempt=claim.holder.name)
            checkpoints.save(_Engine(word), state)  # type: ignore[arg-type]
        publish_model(_model(word), results=results, name="model", scratch=scratch / "publish")
        results.write_text("metrics.jsonl", word)
        ends = attempts.end(exit_name="Succeeded", step=steps)
        results.conclude({"word": word, "attempts": ends})
        checkpoints.clear()
    except JobError as error:
        with suppress(JobError):
            attempts.end(exit_name=type(error).__name__, step=0)
        raise


def _clock(word: str) -> Callable[[], datetime]:
    """Each word has a time of its own, so that records tell who has written them."""
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=sum(word.encode()))
    return lambda: start


def _refuse(fault: str) -> None:
    raise AssertionError(fault)


def _model(word: str) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(word)
        (folder / "model.safetensors").write_text(word)

    return save


def look(root: ArtifactStore, scratch: Path) -> str | None:
    """The word of the run that readers see; None for none. Fails if it is not one whole run."""
    claim = Claim(root, LAYOUT.claim)
    finished = Results(root, LAYOUT.prefix, claim).finished()
    if finished is None:
        return None
    assert finished.missing is None, finished
    root.fetch(LAYOUT.model, scratch)
    words: set[Any] = {path.read_text() for path in scratch.iterdir()}
    words |= {finished.manifest["word"], root.read_text(LAYOUT.metrics)}
    assert len(words) == 1, words
    assert {key.removeprefix(f"{LAYOUT.model}/") for key in root.sizes(LAYOUT.model)} == {
        "COMMITTED",
        "config.json",
        "model.safetensors",
    }
    word: str = words.pop()
    return word


def hook_files(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let each call that touches a folder pass the gate of its writer."""

    def gated(module: Any, name: str) -> None:
        call = getattr(module, name)

        def passing(*arguments: Any, **named: Any) -> Any:
            gate = pass_gate()
            if gate is not None and str(arguments[0]).startswith(str(folder)):
                gate.pass_through()
            return call(*arguments, **named)

        monkeypatch.setattr(module, name, passing)

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "scandir"):
        gated(os, name)
    gated(io, "open")
    gated(builtins, "open")
    monkeypatch.setattr(os, "fsync", lambda _: None)

"""Checkpoints: the whole state of a training, visible only when complete.

A checkpoint is the key ``checkpoints/step-00000100-<attempt>`` of the run's artifacts: one part a
process (``rank-0``, ``rank-1``, ...), each published whole, and then ``complete`` with the state
that all share and the digest of every part. ``complete`` comes last, so a checkpoint without it
does not exist; and one whose parts are not those that it lists is damaged, and an older one is
taken. The attempt in its name keeps the parts of two attempts apart, whatever they do at once.

A part holds numbers of parameters, and ``complete`` says which (see `engines.state`). So any number
of processes goes on from it, with any engine and ZeRO stage: each fetches the parts that hold what
it needs (ADR 0027).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from mmrlhf_jobs.errors import DamagedError, SpecError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Holder
from mmrlhf_jobs.storage.marker import digest_of_files
from mmrlhf_jobs.training.ahead import FetchedAhead
from mmrlhf_jobs.training.engines.interface import Engine
from mmrlhf_jobs.training.engines.state import Fragment, Span, cut
from mmrlhf_jobs.training.engines.tensor_files import SavedState, files_of

__all__ = ["CheckpointState", "Checkpoints", "Part", "RunInputs", "misfit", "share_of"]

_KEY = re.compile(r"(step-(\d{8})(?:-([\w-]+))?)/(complete|rank-\d+)$")
_STATE = "state.json"
_FORM: Final = 2
"""How parts are written; those of form 1 could be read by the engine alone that wrote them."""


@dataclass(frozen=True)
class RunInputs:
    """Digests of what a run is made from; a checkpoint continues the same inputs or none."""

    train_data: str
    rewards: str
    model: str
    template: str
    image_settings: str
    spec: str

    def to_dict(self) -> dict[str, str]:
        """For the manifest."""
        return asdict(self)

    def differences(self, other: RunInputs) -> list[str]:
        """Names of the inputs that differ from those of a run."""
        mine, theirs = self.to_dict(), other.to_dict()
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
        counters: What the engine keeps beside the numbers of parameters.
        form: How the parts are written.
        hardest: Rows of largest loss so far, for the report.
    """

    step: int
    world_size: int
    engine: str
    inputs: RunInputs
    objective: dict[str, float] = field(default_factory=dict)
    metrics: str = ""
    attempt: str = ""
    skipped: int = 0
    counters: dict[str, float] = field(default_factory=dict)
    form: int = _FORM
    hardest: Sequence[dict[str, Any]] = ()

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return f"step-{self.step:08d}" + (f"-{self.attempt}" if self.attempt else "")


@dataclass(frozen=True)
class Part:
    """The part of one process: its digest, and which numbers are in it."""

    digest: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, digest: str, spans: Iterable[Sequence[Any]]) -> Part:
        """What `as_list` was made from."""
        return cls(str(digest), tuple(Span(str(n), int(a), int(b)) for n, a, b in spans))

    def as_list(self) -> list[Any]:
        """As a message to other processes."""
        return [self.digest, [list(span) for span in self.spans]]


@dataclass(frozen=True)
class _Complete:
    """Content of ``complete``: the shared state, and the part of each process by rank."""

    state: CheckpointState
    parts: tuple[Part, ...]

    def encode(self) -> str:
        return json.dumps({**asdict(self.state), "parts": [asdict(part) for part in self.parts]})

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        try:
            content = json.loads(text)
            parts = content.pop("parts")
            inputs = RunInputs(**content.pop("inputs"))
            state = CheckpointState(**{"form": 1, **content}, inputs=inputs)
            if state.form != _FORM:
                return cls(state, ())
            found = tuple(Part.of(part["digest"], part["spans"]) for part in parts)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError(f"{where} does not list its parts as it should ({error})") from error
        if len(found) != state.world_size:
            raise DamagedError(f"{where} lists {len(found)} parts of {state.world_size} processes")
        return cls(state, found)

    def sizes(self) -> dict[str, int]:
        """Numbers of each parameter that was saved."""
        spans = sorted((span.name, span.stop) for part in self.parts for span in part.spans)
        return dict(spans)  # the last one of a name is the largest

    def ranks_with(self, wanted: Sequence[Span]) -> list[int]:
        """Processes whose parts have some of the numbers that are wanted."""
        by_name: dict[str, list[Span]] = {}
        for span in wanted:
            by_name.setdefault(span.name, []).append(span)
        return [
            rank
            for rank, part in enumerate(self.parts)
            if any(
                one.start < span.stop and span.start < one.stop
                for span in part.spans
                for one in by_name.get(span.name, ())
            )
        ]


class Checkpoints:
    """Saves, finds and restores the checkpoints of one run.

    Args:
        store: Artifacts.
        prefix: Key of the run in them.
        scratch: Local folder of this process for files on their way.
        keep: Complete checkpoints to keep.
        runtime: Process group.
        counts: Whether checkpoints of the attempt with a claim of some number are taken.
        fetched: Parts that were fetched ahead, if any were.
    """

    def __init__(
        self,
        store: ArtifactStore,
        *,
        prefix: str,
        scratch: Path,
        keep: int,
        runtime: Runtime,
        counts: Callable[[int], bool] = lambda _: True,
        fetched: FetchedAhead | None = None,
    ) -> None:
        self._store = store
        self._prefix = f"{prefix}/checkpoints"
        self._scratch = scratch
        self._keep = keep
        self._runtime = runtime
        self._counts = counts
        self._fetched = fetched

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, oldest first."""
        return [step for step, _ in self._complete()]

    def save(self, engine: Engine[Any], state: CheckpointState) -> None:
        """Save on every process, then make the checkpoint visible and drop the oldest ones.

        `Saver` does the same while the training goes on.

        Raises:
            StorageError: The artifacts cannot be written; older checkpoints stay.
        """
        state = replace(state, counters=engine.counters())
        own = self.prepare(state, self.share(engine))()
        parts = [Part.of(*part) for part in self._runtime.gather(own.as_list())]
        self._runtime.on_main(lambda: self.commit(state, parts))

    def share(self, engine: Engine[Any]) -> list[Fragment]:
        """What this process saves, as views: of what all hold alike an equal share."""
        fragments = engine.fragments()
        if not engine.replicated:
            return fragments
        return cut(fragments, rank=self._runtime.rank, world_size=self._runtime.world_size)

    def prepare(
        self, state: CheckpointState, fragments: Sequence[Fragment], *, copied: bool = False
    ) -> Callable[[], Part]:
        """What publishes the part of this process, which may be called in any thread.

        Args:
            state: What all processes share.
            fragments: What the part holds.
            copied: Whether it holds the numbers as they are now, whatever changes them until then.
        """
        files = files_of(fragments, copied=copied)
        spans = tuple(fragment.span for fragment in fragments)
        key = f"{self._prefix}/{state.name}/rank-{self._runtime.rank}"
        return lambda: Part(digest_of_files(self._store.publish_made(files, key)), spans)

    def commit(self, state: CheckpointState, parts: Sequence[Part]) -> None:
        """Make a checkpoint visible whose parts are all there, and drop the oldest ones (rank 0).

        Raises:
            StorageError: The artifacts cannot be written; older checkpoints stay.
        """
        text = _Complete(state, tuple(parts)).encode()
        complete = f"{self._prefix}/{state.name}/complete"
        self._store.publish_made({_STATE: text.encode}, complete)
        self._tidy()

    def restore(
        self, engine: Engine[Any], *, inputs: RunInputs, tell: Callable[[str], None]
    ) -> CheckpointState | None:
        """Load the newest checkpoint that is whole; return its state, or None if there is none.

        Every process must call it. Newer ones that are damaged are told and removed: the training
        makes them again.

        Args:
            engine: What to load into, whichever engine has saved.
            inputs: What this run is made from.
            tell: Takes a sentence for each that is damaged; called on every process.

        Raises:
            SpecError: It was made from other inputs, or is of another form.
            TrainingError: It holds something else than the training state of the model.
        """
        damaged: list[str] = []
        wanted = [fragment.span for fragment in engine.fragments()]
        found = None
        for step, key in reversed(self._runtime.on_main(self._complete)):
            fault, text = self._runtime.on_main(partial(self._open, key))
            if not fault:
                complete = _Complete.parse(text, self._where(key))
                self._check_fits(complete.state, inputs=inputs)
                faults = self._runtime.gather(self._fetch_parts(key, complete, wanted))
                fault = next((fault for fault in faults if fault), "")
                if not fault:
                    found = complete
                    break
            tell(f"the checkpoint of step {step} cannot be used and is removed: {fault}")
            damaged.append(key)
        if found is not None:
            self._load(engine, found)
        self._runtime.on_main(lambda: self._remove_all(damaged))
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._fetched is not None:
            self._fetched.close()
        self._runtime.wait()
        return None if found is None else found.state

    def newest(self) -> tuple[CheckpointState | None, str]:
        """State of the newest complete checkpoint, or what is wrong with it; changes nothing.

        Every process must call it.
        """
        found, fault = self._newest()
        return None if found is None else found.state, fault

    def _newest(self) -> tuple[_Complete | None, str]:
        def look() -> tuple[str, str]:
            whole = self._complete()
            return self._open(whole[-1][1]) if whole else ("it is gone by now", "")

        fault, text = self._runtime.on_main(look)
        shutil.rmtree(self._scratch, ignore_errors=True)
        if fault:
            return None, f"is damaged: {fault}"
        return _Complete.parse(text, self._prefix), ""

    def look_ahead(self, *, replicated: bool) -> None:
        """Look at the newest checkpoint long before it is restored, and begin to fetch it.

        Every process must call it. Its state alone is looked at, and nothing is changed, so that
        nobody waits for a model and a reference to be told that another version has written it.
        `restore` looks at all else.

        Args:
            replicated: Whether each process will need all parts, and not its share of them.

        Raises:
            SpecError: It is of another form.
        """
        found, _ = self._newest()
        if found is None:
            return
        self._check_fits(found.state, inputs=found.state.inputs)
        if self._fetched is not None:
            # A guess, if another world has saved it: what else is needed is fetched by `restore`.
            ranks = range(len(found.parts))
            if not replicated:
                ranks = share_of(len(ranks), self._runtime.rank, self._runtime.world_size)
            folder = f"{self._prefix}/{found.state.name}"
            self._fetched.begin({f"{folder}/rank-{n}": found.parts[n].digest for n in ranks})

    def load(self, engine: Engine[Any], state: CheckpointState) -> str:
        """Load one of another run; say what is wrong with it, in which case nothing is loaded.

        Every process must call it. Nothing of the other run is changed.
        """
        fault, text = self._runtime.on_main(partial(self._open, state.name))
        if not fault:
            complete = _Complete.parse(text, self._where(state.name))
            wanted = [fragment.span for fragment in engine.fragments()]
            faults = self._runtime.gather(self._fetch_parts(state.name, complete, wanted))
            fault = next((fault for fault in faults if fault), "")
        if not fault:
            self._load(engine, complete)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return f"is damaged: {fault}" if fault else ""

    def _load(self, engine: Engine[Any], complete: _Complete) -> None:
        """Load the parts that were fetched."""
        files = sorted(self._scratch.glob("rank-*/*.safetensors"))
        engine.load(SavedState(files, complete.sizes()), complete.state.counters)

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

    def _fetch_parts(self, key: str, complete: _Complete, wanted: Sequence[Span]) -> str:
        """Fetch the parts with what this process needs into the scratch folder; say what is wrong.

        With as many processes as before, and the same stage, that is its own part.
        """
        local = self._fresh_scratch()
        for rank in complete.ranks_with(wanted):
            part, digest = f"rank-{rank}", complete.parts[rank].digest
            whole = f"{self._prefix}/{key}/{part}"
            if self._fetched is not None and self._fetched.take(whole, digest, local / part):
                continue
            try:
                self._store.fetch(whole, local / part, digest=digest)
            except DamagedError as error:
                return str(error)
        return ""

    def _check_fits(self, state: CheckpointState, *, inputs: RunInputs) -> None:
        if fault := misfit(state, inputs=inputs):
            raise SpecError(
                f"the checkpoint of step {state.step} in {self._where(state.name)} {fault}: make it"
                " as it was, or start over with checkpoint.resume: none"
            )

    def clear(self) -> None:
        """Remove everything, complete or not."""
        self._remove_all([key for _, key in self._complete()])
        self._store.remove(self._prefix)

    def _tidy(self) -> None:
        """Remove the oldest, and what was begun to be saved and is not gone on with."""
        parts = self._parts()
        whole = [key for key, found in sorted(parts.items()) if {"complete", "rank-0"} <= found]
        self._remove_all([name for _, name, _ in whole[: -self._keep]])
        # Whatever attempt has begun them: at most one is saved at a time, and it is whole.
        for _, name, _ in sorted(parts.keys() - set(whole)):
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


def share_of(count: int, rank: int, world_size: int) -> range:
    """Those of so many equal parts of a row that one of so many equal shares of it lies in."""
    return range(rank * count // world_size, -(-(rank + 1) * count // world_size))


def misfit(state: CheckpointState, *, inputs: RunInputs) -> str | None:
    """Why a run cannot go on with a checkpoint, as the rest of a sentence; None: it can.

    Engine, ZeRO stage and number of processes may be others than those that saved it.

    Args:
        state: State of the checkpoint.
        inputs: What the run is made from.
    """
    if state.form != _FORM:
        return (
            f"was written by another version of mmrlhf (in form {state.form}, this one reads form"
            f" {_FORM}), which alone can go on with it"
        )
    if changed := state.inputs.differences(inputs):
        return f"was made from another {' and '.join(changed)}"
    return None

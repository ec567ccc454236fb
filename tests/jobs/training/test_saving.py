"""Checkpoints that are uploaded while the steps go on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmrlhf_jobs.errors import StorageUnavailableError, SupersededError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.claims import Claim
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs
from mmrlhf_jobs.training.engines.state import MASTER, Fragment
from mmrlhf_jobs.training.saving import Saver
from tests.jobs.training.test_checkpoints import Number
from tests.jobs.training.two_layers import make, step
from tests.jobs.training.worlds import digest
from tests.patience import PATIENCE
from tests.unit.storage import writers
from tests.unit.storage.writers import Gate, Killed, hook_files

ALONE = Runtime(0, 1, torch.device("cpu"))
INPUTS = RunInputs("data", "rewards", "model", "template", "images", "spec")
LONG = 20 * PATIENCE


class Store(ArtifactStore):
    """Artifacts whose uploads wait, or fail, as a test says.

    Attributes:
        before: Called before each upload with its key.
    """

    before: Callable[[str], object] = staticmethod(lambda _: None)

    def publish_made(self, files: Any, key: str, **named: Any) -> Any:
        self.before(key)
        return super().publish_made(files, key, **named)


class Counter(Number):
    """An engine whose state is the number of its steps, in one tensor that they change."""

    def __init__(self) -> None:
        super().__init__()
        self._row = torch.zeros(1000)

    def count(self) -> None:
        self.value += 1
        self._row += 1

    def fragments(self) -> list[Fragment]:
        return [Fragment("number", 0, {MASTER: self._row, "exp_avg": -self._row}, 7.0)]


class Training:
    """Steps of an engine that counts them, with checkpoints in between.

    Its clock counts the steps that are done.
    """

    def __init__(self, store: Store, folder: Path, runtime: Any = ALONE, **options: Any) -> None:
        self.store = store
        self.told: list[str] = []
        self.step = 0
        self.runtime = runtime
        self.engine: Any = Counter()
        self.checkpoints = Checkpoints(
            store, prefix="run", scratch=folder / f"scratch-{runtime.rank}", keep=1, runtime=runtime
        )
        self.saver = Saver(
            self.checkpoints,
            every=2,
            runtime=runtime,
            tell=self.told.append,
            clock=lambda: self.step,
            **options,
        )

    def run(self, until: int) -> None:
        while self.step < until:
            busy = self.runtime.sum([float(self.saver.is_busy())])[0]
            self.step += 1
            self.engine.count()
            self.saver.advance(busy)
            if self.saver.is_due(self.step):
                state = CheckpointState(self.step, self.runtime.world_size, "number", INPUTS)
                self.saver.begin(self.engine, state)

    def arrive(self) -> None:
        """Let the upload on its way be done, as it would be some time."""
        while self.saver.is_busy():
            time.sleep(0.001)

    def saved(self) -> list[int]:
        return self.checkpoints.steps()

    def restored(self) -> int:
        engine = Number(-1)
        self.checkpoints.restore(engine, inputs=INPUTS, tell=self.told.append)  # type: ignore[arg-type]
        return engine.value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_steps_go_on_while_a_slow_store_takes_a_checkpoint(store: Store, tmp_path: Path) -> None:
    training = Training(store, tmp_path)
    go = threading.Event()
    store.before = lambda _: go.wait(LONG) or pytest.fail("the steps wait for the upload")
    training.run(8)
    assert training.saved() == []
    assert training.saver.savings.seconds == 0, "no step is lost"
    assert training.saver.savings.late == 3, "those of steps 4, 6 and 8"
    (told,) = training.told
    assert told.startswith("the checkpoint of step 4 is late: that of step 2 is still on its way")
    go.set()
    training.arrive()
    # What was copied after step 2, whatever the steps have made of it since.
    assert (training.saved(), training.restored()) == ([2], 2)
    # The one that is late is made as soon as all know that this one is there.
    training.run(9)
    training.saver.finish()
    assert (training.saved(), training.restored()) == ([9], 9)
    assert training.saver.savings.as_dict() == {"saved": 2, "failed": 0, "late": 3, "seconds": 0}


def test_an_upload_that_fails_is_told_and_the_next_one_tries_again(
    store: Store, tmp_path: Path
) -> None:
    training = Training(store, tmp_path)
    training.run(2)
    training.saver.finish()

    def away(key: str) -> None:
        raise StorageUnavailableError(f"{key}: the store is away")

    store.before = away
    training.run(4)
    training.arrive()
    training.run(5)
    (told,) = training.told
    assert told == (
        "the checkpoint of step 4 could not be saved, by process 0: run/checkpoints/step-00000004/"
        "rank-0: the store is away. The training goes on, and the next one tries again (1 failed so"
        " far)"
    )
    assert training.saved() == [2], "an older one stays until there is a newer one"
    store.before = lambda _: None
    training.run(6)
    training.saver.finish()
    assert (training.saved(), training.restored()) == ([6], 6)
    assert training.saver.savings.as_dict() == {"saved": 2, "failed": 1, "late": 0, "seconds": 0}
    assert {key.split("/")[2] for key in store.sizes()} == {"step-00000006"}


def test_parts_of_a_checkpoint_that_never_became_whole_go_with_the_next_one(
    store: Store, tmp_path: Path
) -> None:
    training = Training(store, tmp_path)

    def full(key: str) -> None:
        if key.endswith("complete"):
            raise StorageUnavailableError("away")

    store.before = full
    training.run(2)
    training.saver.finish()
    assert {key.split("/")[2] for key in store.sizes()} == {"step-00000002"}
    assert training.saved() == []
    store.before = lambda _: None
    training.run(4)
    training.saver.finish()
    assert {key.split("/")[2] for key in store.sizes()} == {"step-00000004"}


@pytest.mark.parametrize("error", [SupersededError("another attempt"), OSError("a bug")])
def test_what_no_later_checkpoint_mends_ends_the_training(
    store: Store, tmp_path: Path, error: Exception
) -> None:
    training = Training(store, tmp_path)

    def fail(_: str) -> None:
        raise error

    store.before = fail
    training.run(2)
    training.arrive()
    with pytest.raises(type(error), match=str(error)):
        training.run(3)


def test_steps_wait_where_there_is_no_memory_for_a_copy(store: Store, tmp_path: Path) -> None:
    training = Training(store, tmp_path, free=lambda: 15_999)  # the state takes 8000 bytes

    def before(_: str) -> None:
        assert threading.current_thread() is threading.main_thread()

    store.before = before
    training.run(2)
    assert training.saved() == [2]
    training.run(4)
    assert (training.saved(), training.restored()) == ([4], 4)
    (told,) = training.told
    assert told.startswith("steps wait for the upload of checkpoints: a copy of process 0's part")
    other = Training(store, tmp_path, free=lambda: 16_000)
    store.before = lambda _: (
        threading.current_thread() is not threading.main_thread() or (pytest.fail("there was room"))
    )
    other.run(2)
    other.saver.finish()
    assert other.told == []


class Together:
    """A process group of threads."""

    def __init__(self, rank: int, shared: SimpleNamespace) -> None:
        self.rank, self.world_size, self.is_main = rank, 2, rank == 0
        self._shared = shared

    def gather(self, value: Any) -> list[Any]:
        self._shared.values[self.rank] = value
        self._shared.barrier.wait(LONG)
        found = list(self._shared.values)
        self._shared.barrier.wait(LONG)
        return found

    def sum(self, values: list[float]) -> list[float]:
        return [sum(column) for column in zip(*self.gather(values), strict=True)]


@pytest.mark.parametrize("fails", [False, True])
def test_a_checkpoint_is_whole_when_all_processes_have_uploaded(
    store: Store, tmp_path: Path, *, fails: bool
) -> None:
    go = threading.Event()

    def before(key: str) -> None:
        if key.endswith("00000002/rank-1"):
            assert go.wait(LONG)
            if fails:
                raise StorageUnavailableError("away")

    store.before = before
    shared = SimpleNamespace(values=[None, None], barrier=threading.Barrier(2))
    both = [Training(store, tmp_path, Together(rank, shared)) for rank in range(2)]
    errors: list[BaseException] = []

    def together(work: Callable[[Training], object]) -> None:
        def run(one: Training) -> None:
            try:
                work(one)
            except BaseException as error:
                errors.append(error)
                shared.barrier.abort()
                raise

        threads = [threading.Thread(target=run, args=(one,)) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []

    together(lambda one: one.run(2))
    both[0].arrive()
    together(lambda one: one.run(5))
    keys = store.list_committed()
    assert keys == ["run/checkpoints/step-00000002/rank-0"], "process 0 has uploaded its part"
    go.set()
    both[1].arrive()
    together(lambda one: one.run(6))
    both[0].arrive()
    # It was whole by one step, and the next step knows that and begins the one that is late.
    assert both[0].saved() == ([] if fails else [2])
    together(lambda one: one.run(7))
    together(lambda one: one.saver.finish())
    assert both[0].saved() == [6 if fails else 7]
    for one in both:
        assert one.saver.savings.failed == int(fails)
        assert ["by process 1: away" in told for told in one.told[1:]] == [True] * fails


STEPS, EVERY = 7, 2


def attempt(store: ArtifactStore, folder: Path) -> str:
    """An attempt of a training with plain torch, from its last checkpoint on; the final state."""
    claim = Claim(store, "run/claim.json")
    claim.take()
    engine = make(torch.float32, 0, ALONE)
    checkpoints = Checkpoints(
        store.guarded(claim.check),
        prefix="run",
        scratch=folder,
        keep=1,
        runtime=ALONE,
        counts=claim.holder.counts,
    )
    saver = Saver(checkpoints, every=EVERY, runtime=ALONE, tell=lambda _: None)
    state = checkpoints.restore(engine, inputs=INPUTS, tell=lambda _: None)
    try:
        for number in range(state.step if state else 0, STEPS):
            busy = saver.is_busy()
            step(engine, number, ALONE)
            # A step that takes as long as an upload, so that each run makes as many calls.
            while busy and saver.is_busy():
                time.sleep(0.001)
            saver.advance(busy)
            if saver.is_due(number + 1):
                name = claim.holder.name
                saver.begin(engine, CheckpointState(number + 1, 1, "torch", INPUTS, attempt=name))
        saver.finish()
    finally:
        saver.leave()
    return digest(engine, ALONE)


def test_killed_at_any_call_to_the_store_it_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook_files(monkeypatch, tmp_path / "stores")
    gate = Gate()
    # Whichever thread calls: a process is killed with all of its threads.
    monkeypatch.setattr(writers, "pass_gate", lambda: gate)
    expected = attempt(ArtifactStore(str(tmp_path / "stores/whole")), tmp_path / "scratch")
    total = gate.calls
    assert total > 50
    went_on = 0
    for kill in random.Random(0).sample(range(1, total + 1), 30):
        store = ArtifactStore(str(tmp_path / f"stores/{kill}"))
        gate = Gate(kill_at=kill)
        with pytest.raises(Killed):
            attempt(store, tmp_path / "scratch")
        gate = Gate()
        went_on += any("complete" in key for key in store.list_committed("run"))
        assert attempt(store, tmp_path / "scratch") == expected
    assert went_on > 10

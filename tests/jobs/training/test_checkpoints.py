"""Checkpoints that somebody damaged, mixed or poisoned."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.fp16.loss_scaler import LossScaler

from mmrlhf_jobs.errors import SpecError, StorageUnavailableError, TrainingError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import copy_stream
from mmrlhf_jobs.storage.marker import MARKER, make_marker
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs, misfit
from mmrlhf_jobs.training.engines.tensor_files import read_tensors
from tests.jobs.training.test_training import run_until, step
from tests.jobs.training.world import World

INPUTS = RunInputs("data", "rewards", "model", "template", "images", "spec")


class Number:
    """An engine whose whole state is a number."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def save(self, folder: Path) -> None:
        (folder / "number.txt").write_text(str(self.value))
        (folder / "rest.bin").write_bytes(bytes([self.value]) * 1000)

    def load(self, folder: Path) -> None:
        self.value = int((folder / "number.txt").read_text())


class Kept:
    """A run with checkpoints of steps 2, 4 and 6, each of which holds its step."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore(str(folder / "store"))
        self.folder = folder / "store/run/checkpoints"
        self.checkpoints = Checkpoints(
            self.store,
            prefix="run",
            scratch=folder / "scratch",
            keep=3,
            runtime=Runtime(0, 1, torch.device("cpu")),
        )
        self.told: list[str] = []
        for number in (2, 4, 6):
            state = CheckpointState(number, 1, "number", INPUTS, {"mean": number / 10}, "rows")
            self.checkpoints.save(Number(number), state)  # type: ignore[arg-type]

    def restore(self, inputs: RunInputs = INPUTS) -> tuple[int, CheckpointState | None]:
        engine = Number(-1)
        state = self.checkpoints.restore(
            engine,  # type: ignore[arg-type]
            name="number",
            inputs=inputs,
            tell=self.told.append,
        )
        return engine.value, state

    def file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


NEWEST = "step-00000006"


def flip(path: Path, place: int = 0, mask: int = 4) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(content)


def published_as(folder: Path) -> None:
    """Write the marker for what is in a folder now, as whoever may write there can."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARKER]
    entries = []
    for path in files:
        with path.open("rb") as file:
            entries.append(copy_stream(file, None, path.relative_to(folder).as_posix()))
    (folder / MARKER).write_bytes(make_marker(entries))


def older_part(kept: Kept) -> None:
    shutil.rmtree(kept.file(f"{NEWEST}/rank-0"))
    shutil.copytree(kept.file("step-00000004/rank-0"), kept.file(f"{NEWEST}/rank-0"))


def state(change: Callable[[dict[str, Any]], object]) -> Callable[[Kept], None]:
    def damage(kept: Kept) -> None:
        path = kept.file(f"{NEWEST}/complete/state.json")
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        published_as(path.parent)

    return damage


def state_file(change: Callable[[Path], object]) -> Callable[[Kept], None]:
    """Whole by its marker, as whoever may write there can make it."""

    def damage(kept: Kept) -> None:
        path = kept.file(f"{NEWEST}/complete/state.json")
        change(path)
        published_as(path.parent)

    return damage


DAMAGES: dict[str, Callable[[Kept], object]] = {
    "part of another step": older_part,
    "byte of a part": lambda kept: flip(kept.file(f"{NEWEST}/rank-0/rest.bin"), 500),
    "part cut short": lambda kept: os.truncate(kept.file(f"{NEWEST}/rank-0/rest.bin"), 10),
    "file of a part gone": lambda kept: kept.file(f"{NEWEST}/rank-0/number.txt").unlink(),
    "part gone": lambda kept: shutil.rmtree(kept.file(f"{NEWEST}/rank-0")),
    "marker of a part": lambda kept: flip(kept.file(f"{NEWEST}/rank-0/{MARKER}"), 40),
    "marker of a part empty": lambda kept: kept.file(f"{NEWEST}/rank-0/{MARKER}").write_text(""),
    "state": lambda kept: flip(kept.file(f"{NEWEST}/complete/state.json"), 5),
    "state gone": lambda kept: kept.file(f"{NEWEST}/complete/state.json").unlink(),
    "marker": lambda kept: flip(kept.file(f"{NEWEST}/complete/{MARKER}"), 40),
    "marker of bytes": lambda kept: kept.file(f"{NEWEST}/complete/{MARKER}").write_bytes(b"\xff"),
    "marker empty": lambda kept: kept.file(f"{NEWEST}/complete/{MARKER}").write_bytes(b""),
    "marker of nothing": lambda kept: kept.file(f"{NEWEST}/complete/{MARKER}").write_text("[]"),
    "marker too deep": lambda kept: kept.file(f"{NEWEST}/complete/{MARKER}").write_text(
        '{"files":' + "[" * 100_000
    ),
    "parts not told": state(lambda content: content.pop("parts")),
    "parts too few": state(lambda content: content.update(parts=[])),
    "parts no list": state(lambda content: content.update(parts=7)),
    "state of a newer version": state(lambda content: content.update(novelty=1)),
    "state not UTF-8": state_file(lambda path: path.write_bytes(b"\xff\xfe")),
    "state never published": state_file(lambda path: path.unlink()),
    "inputs no object": state(lambda content: content.update(inputs="data")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_older_whole_one_is_taken_and_told(kept: Kept, damage: Callable[[Kept], object]) -> None:
    damage(kept)
    value, state = kept.restore()
    assert (value, state and state.step) == (4, 4)
    assert state is not None
    assert (state.objective, state.metrics) == ({"mean": 0.4}, "rows")
    (told,) = kept.told
    assert told.startswith("the checkpoint of step 6 cannot be used and is removed: ")
    assert str(kept.folder) in told
    assert kept.checkpoints.steps() == [2, 4]


def test_whatever_byte_is_flipped_nothing_else_than_what_was_saved_is_loaded(
    tmp_path: Path,
) -> None:
    draw = random.Random(0)
    original = Kept(tmp_path / "original")
    for number in range(60):
        shutil.copytree(tmp_path / "original", tmp_path / str(number))
        kept = Kept.__new__(Kept)
        kept.__dict__.update(original.__dict__, told=[])
        kept.store = ArtifactStore(str(tmp_path / str(number) / "store"))
        kept.folder = tmp_path / str(number) / "store/run/checkpoints"
        kept.checkpoints = Checkpoints(
            kept.store,
            prefix="run",
            scratch=tmp_path / str(number) / "scratch",
            keep=3,
            runtime=Runtime(0, 1, torch.device("cpu")),
        )
        files = [path for path in sorted(kept.file(NEWEST).rglob("*")) if path.is_file()]
        path = draw.choice(files)
        flip(path, draw.randrange(path.stat().st_size), 1 << draw.randrange(8))
        value, state = kept.restore()
        assert state is not None
        assert value == state.step, path
        assert state.objective == {"mean": state.step / 10}
        # White space in a marker says nothing, so a flip there may do no harm.
        assert state.step == 4 or path.name == MARKER
        assert len(kept.told) == (state.step == 4)


def test_without_a_whole_one_the_training_begins_anew(kept: Kept) -> None:
    for name in ("step-00000002", "step-00000004", NEWEST):
        flip(kept.file(f"{name}/rank-0/number.txt"))
    assert kept.restore() == (-1, None)
    assert len(kept.told) == 3
    assert not list(kept.folder.glob("*/*"))


def test_a_store_that_is_away_is_no_damage(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("the store is away")

    monkeypatch.setattr(kept.store, "fetch", away)
    with pytest.raises(StorageUnavailableError):
        kept.restore()
    assert kept.told == []
    assert kept.checkpoints.steps() == [2, 4, 6]


def test_a_whole_one_of_other_inputs_is_refused_and_kept(kept: Kept) -> None:
    flip(kept.file(f"{NEWEST}/rank-0/number.txt"))
    other = RunInputs("data", "rewards", "another model", "template", "images", "spec")
    with pytest.raises(SpecError, match=r"step 6 .* was made from another model"):
        kept.restore(other)
    assert kept.checkpoints.steps() == [2, 4, 6]


@pytest.mark.parametrize(
    ("engine", "before", "name", "now", "fits"),
    [
        ("torch", 2, "torch", 5, True),
        ("deepspeed-1", 2, "deepspeed-1", 3, True),
        ("deepspeed-2", 3, "deepspeed-2", 2, True),
        ("deepspeed-3", 2, "deepspeed-3", 2, True),
        ("deepspeed-3", 2, "deepspeed-3", 3, False),
        ("deepspeed-3", 2, "deepspeed-2", 2, False),
        ("deepspeed-2", 2, "torch", 1, False),
    ],
)
def test_which_processes_go_on_from_a_checkpoint(
    engine: str, before: int, name: str, now: int, *, fits: bool
) -> None:
    state = CheckpointState(6, before, engine, INPUTS)
    found = misfit(state, name=name, inputs=INPUTS, world_size=now)
    if fits:
        assert found is None
    else:
        assert found is not None
        assert f"by {before} process(es) with engine {engine}, this run has {now} with" in found
        assert ("ZeRO 3 splits each weight" in found) == (engine == name)


def test_other_processes_are_refused_by_the_state_alone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.checkpoints.refuse_other_processes(name="number")
    monkeypatch.setattr(kept.checkpoints, "_fetch_parts", None)
    with pytest.raises(
        SpecError, match=r"by 1 process\(es\) with engine number, this run has 1 wi"
    ):
        kept.checkpoints.refuse_other_processes(name="another")
    # What is damaged is for `restore` to tell, which takes an older one.
    flip(kept.file(f"{NEWEST}/complete/state.json"), 5)
    kept.checkpoints.refuse_other_processes(name="another")
    assert kept.checkpoints.steps() == [2, 4, 6]
    kept.checkpoints.clear()
    kept.checkpoints.refuse_other_processes(name="another")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_and_calls_are_not_made(tmp_path: Path, *, zipped: bool) -> None:
    path, mark = tmp_path / "file.pt", tmp_path / "mark"
    good = {"a": torch.arange(3), "b": [1, 2.5, "c", None], "c": {(1, 2): torch.float16}}
    torch.save(good, path, _use_new_zipfile_serialization=zipped)
    assert read_tensors(path)["b"] == good["b"]
    for call in (
        Call(os.system, f"touch {mark}"),
        Call(os.mkdir, str(mark)),
        Call(eval, f"open({str(mark)!r}, 'w')"),
        Call(exec, f"open({str(mark)!r}, 'w')"),
    ):
        torch.save({"a": call}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(TrainingError, match="holds more than tensors"):
            read_tensors(path)
    assert not mark.exists()


class Stage(int, Enum):
    """Pickled as versions of Python up to 3.11.3 pickle members of an enumeration."""

    TWO = 2

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return getattr, (Stage, self.name)


def test_members_of_enumerations_are_kept_as_values(tmp_path: Path) -> None:
    from mmrlhf_jobs.training.engines.deepspeed_files import TensorFiles

    path = str(tmp_path / "file.pt")
    scaler = LossScaler(3)
    state = {"stage": Stage.TWO, "list": [{"stage": (Stage.TWO,)}], "scaler": scaler}
    torch.save(state, path)
    with pytest.raises(TrainingError, match=r"holds more than tensors \(getattr\)"):
        TensorFiles().load(path)
    TensorFiles().save(state, path)
    loaded = TensorFiles().load(path)
    assert (loaded["stage"], loaded["list"]) == (2, [{"stage": (2,)}])
    assert loaded["scaler"].cur_scale == 3


@pytest.mark.parametrize(
    "name", ["state/mp_rank_00_model_states.pt", "state/*zero_pp_rank_0*optim_states.pt"]
)
def test_deepspeed_runs_nothing_of_a_checkpoint(world: World, name: str) -> None:
    run_until(world, step(3), signal.SIGTERM, processes=2)
    mark = world.folder / "mark"
    newest = max(world.results().glob("checkpoints/step-*"))
    (path,) = (newest / "rank-0").glob(name)
    torch.save({"module": Call(os.mkdir, str(mark))}, path)
    published_as(path.parents[1])
    # As its author would: `complete` lists the part as it is now.
    from mmrlhf_jobs.storage.marker import digest_of_files, parse_marker

    content = json.loads((newest / "complete/state.json").read_text())
    marker = (newest / "rank-0" / MARKER).read_text()
    content["parts"][0] = digest_of_files(parse_marker(marker, "marker"))
    (newest / "complete/state.json").write_text(json.dumps(content))
    published_as(newest / "complete")

    run = world.run(world.job(), processes=2)
    assert run.code == 1
    assert not mark.exists()
    assert run.termination is not None
    assert "holds more than tensors" in run.termination["message"]

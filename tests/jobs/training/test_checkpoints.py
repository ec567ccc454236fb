"""Checkpoints that somebody damaged, mixed or poisoned."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mmrlhf_jobs.errors import SpecError, StorageUnavailableError, TrainingError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import copy_stream
from mmrlhf_jobs.storage.marker import MARKER, digest_of_files, make_marker, parse_marker
from mmrlhf_jobs.training.ahead import FetchedAhead
from mmrlhf_jobs.training.checkpoints import Checkpoints, CheckpointState, RunInputs
from mmrlhf_jobs.training.engines.state import MASTER, Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from tests.patience import PATIENCE

INPUTS = RunInputs("data", "rewards", "model", "template", "images", "spec")


class Number:
    """An engine whose whole state is a number, many times over."""

    replicated = True

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def fragments(self) -> list[Fragment]:
        row = torch.full((1000,), float(self.value))
        return [Fragment("number", 0, {MASTER: row, "exp_avg": -row}, 7.0)]

    def counters(self) -> dict[str, float]:
        return {"value": self.value / 2}

    def load(self, saved: SavedState, counters: Mapping[str, float]) -> None:
        saved.check({"number": 1000})
        found = saved.read("number", 0, 1000)
        (self.value,) = set(map(int, found.values[MASTER].tolist()))
        assert set(found.values["exp_avg"].tolist()) == {-self.value}
        assert (found.step, counters) == (7.0, {"value": self.value / 2})


class Kept:
    """A run with checkpoints of steps 2, 4 and 6, each of which holds its step."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore(str(folder / "store"))
        self.folder = folder / "store/run/checkpoints"
        self.told: list[str] = []
        self.fetched = FetchedAhead(self.store, folder / "ahead", self.told.append)
        self.checkpoints = Checkpoints(
            self.store,
            prefix="run",
            scratch=folder / "scratch",
            keep=3,
            runtime=Runtime(0, 1, torch.device("cpu")),
            fetched=self.fetched,
        )
        for number in (2, 4, 6):
            state = CheckpointState(number, 1, "number", INPUTS, {"mean": number / 10}, "rows")
            self.checkpoints.save(Number(number), state)  # type: ignore[arg-type]

    def restore(self, inputs: RunInputs = INPUTS) -> tuple[int, CheckpointState | None]:
        engine = Number(-1)
        state = self.checkpoints.restore(
            engine,  # type: ignore[arg-type]
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
    "byte of a part": lambda kept: flip(kept.file(f"{NEWEST}/rank-0/00000.safetensors"), 500),
    "part cut short": lambda kept: os.truncate(kept.file(f"{NEWEST}/rank-0/00000.safetensors"), 10),
    "file of a part gone": lambda kept: kept.file(f"{NEWEST}/rank-0/00000.safetensors").unlink(),
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
    "parts without spans": state(lambda content: content["parts"][0].pop("spans")),
    "spans of words": state(lambda content: content["parts"][0].update(spans=[["number", "a", 1]])),
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
        flip(kept.file(f"{name}/rank-0/00000.safetensors"))
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
    flip(kept.file(f"{NEWEST}/rank-0/00000.safetensors"))
    other = RunInputs("data", "rewards", "another model", "template", "images", "spec")
    with pytest.raises(SpecError, match=r"step 6 .* was made from another model"):
        kept.restore(other)
    assert kept.checkpoints.steps() == [2, 4, 6]


def test_a_checkpoint_of_another_form_is_refused_by_its_state_alone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.checkpoints.look_ahead(replicated=True)
    monkeypatch.setattr(kept.checkpoints, "_fetch_parts", None)
    # As an older version wrote it: parts by their digests, and no word of their form.
    state(lambda content: (content.pop("form"), content.update(parts=["0" * 64])))(kept)
    with pytest.raises(
        SpecError, match=r"step 6 .* by another version of mmrlhf \(in form 1, this"
    ):
        kept.checkpoints.look_ahead(replicated=True)
    with pytest.raises(SpecError, match="which alone can go on with it: make it as it was, or"):
        kept.restore()
    # What is damaged is for `restore` to tell, which takes an older one.
    flip(kept.file(f"{NEWEST}/complete/state.json"), 5)
    kept.checkpoints.look_ahead(replicated=True)
    assert kept.checkpoints.steps() == [2, 4, 6]
    kept.checkpoints.clear()
    kept.checkpoints.look_ahead(replicated=True)


def fetched_by(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which parts will have been fetched, by which thread."""
    found: list[tuple[str, str]] = []
    fetch = kept.store.fetch

    def noted(key: str, *args: Any, **more: Any) -> None:
        if "rank-" in key:
            found.append((key.removeprefix("run/checkpoints/"), threading.current_thread().name))
        fetch(key, *args, **more)

    monkeypatch.setattr(kept.store, "fetch", noted)
    return found


def test_what_was_fetched_ahead_is_not_fetched_again(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fetched_by(kept, monkeypatch)
    kept.checkpoints.look_ahead(replicated=True)
    value, state = kept.restore()
    assert (value, state and state.step, kept.told) == (6, 6, [])
    assert found == [(f"{NEWEST}/rank-0", "ahead")]
    assert not (tmp_path / "ahead").exists()
    assert kept.restore()[0] == 6, "nothing is left of it that would be taken once more"
    assert found[1:] == [(f"{NEWEST}/rank-0", "MainThread")]


def test_another_checkpoint_than_that_which_was_fetched_ahead_is_fetched_itself(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fetched_by(kept, monkeypatch)
    kept.checkpoints.look_ahead(replicated=True)
    newer = CheckpointState(8, 1, "number", INPUTS, {"mean": 0.8}, "rows")
    kept.checkpoints.save(Number(8), newer)  # type: ignore[arg-type]
    value, state = kept.restore()
    assert (value, state and state.step, kept.told) == (8, 8, [])
    assert ("step-00000008/rank-0", "MainThread") in found
    # The thread may still be at it.
    for thread in threading.enumerate():
        if thread.name == "ahead":
            thread.join(120 * PATIENCE)
    assert not (tmp_path / "ahead").exists()


def test_what_could_not_be_fetched_ahead_is_told_and_fetched_once_more(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = kept.store.fetch

    def away(*args: Any, **more: Any) -> None:
        if threading.current_thread().name == "ahead":
            raise StorageUnavailableError("the store is away")
        fetch(*args, **more)

    monkeypatch.setattr(kept.store, "fetch", away)
    kept.checkpoints.look_ahead(replicated=True)
    assert kept.restore()[0] == 6
    assert kept.told == ["a part of the checkpoint is fetched once more: the store is away"]


def test_damage_that_was_met_ahead_is_told_and_an_older_one_is_taken(kept: Kept) -> None:
    flip(kept.file(f"{NEWEST}/rank-0/00000.safetensors"), 500)
    kept.checkpoints.look_ahead(replicated=True)
    assert kept.restore()[0] == 4
    again, removed = kept.told
    assert again.startswith("a part of the checkpoint is fetched once more: ")
    assert removed.startswith("the checkpoint of step 6 cannot be used and is removed: ")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def as_its_author_would(checkpoint: Path) -> None:
    """Have the markers and ``complete`` list the part of rank 0 as it is now."""
    published_as(checkpoint / "rank-0")
    content = json.loads((checkpoint / "complete/state.json").read_text())
    marker = (checkpoint / "rank-0" / MARKER).read_text()
    content["parts"][0]["digest"] = digest_of_files(parse_marker(marker, "marker"))
    (checkpoint / "complete/state.json").write_text(json.dumps(content))
    published_as(checkpoint / "complete")


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_and_calls_are_not_made(
    kept: Kept, tmp_path: Path, *, zipped: bool
) -> None:
    mark = tmp_path / "mark"
    for call in (
        Call(os.system, f"touch {mark}"),
        Call(eval, f"open({str(mark)!r}, 'w')"),
        Call(exec, f"open({str(mark)!r}, 'w')"),
    ):
        path = kept.file(f"{NEWEST}/rank-0/00000.safetensors")
        torch.save({"a": call}, path, _use_new_zipfile_serialization=zipped)
        as_its_author_would(kept.file(NEWEST))
        with pytest.raises(TrainingError, match="holds something else than training state"):
            kept.restore()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"a": torch.zeros(3)}, "holds something else than training state"),
        ({"x:master:number": torch.zeros(1000)}, "holds something else than training state"),
        ({"0:master:number": torch.zeros(10, 100)}, "holds something else than training state"),
        ({"0:master:number": torch.zeros(999)}, "lacks master of number from number 999 on"),
        ({"1:master:number": torch.zeros(999)}, "lacks master of number from number 0 on"),
        ({"0:exp_avg:number": torch.zeros(1000)}, "lacks master of number from number 0 on"),
    ],
)
def test_what_its_author_has_not_written_whole_is_told(
    kept: Kept, tensors: dict[str, torch.Tensor], says: str
) -> None:
    save_file(tensors, kept.file(f"{NEWEST}/rank-0/00000.safetensors"))
    as_its_author_would(kept.file(NEWEST))
    with pytest.raises(TrainingError, match=says):
        kept.restore()

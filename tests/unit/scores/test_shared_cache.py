"""Side-cars that several jobs make at the same time, over one folder of artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.scores.sharing import KEYS, Job, make_together


def start(folder: Path, name: str, **more: Any) -> Job:
    return Job(ArtifactStore(str(folder / "artifacts")), folder, name, **more)


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("step", [0.0, 1e-3], ids=["equal", "differing"])
def test_jobs_that_make_it_at_the_same_time_all_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    jobs = [start(tmp_path, f"job-{number}", value=number * step) for number in range(3)]
    for number, made in enumerate(make_together(jobs, monkeypatch)):
        assert isinstance(made, Sidecar), made
        expected = [number * step + place % 4 for place in range(len(KEYS))]
        assert made.lookup(KEYS).tolist() == pytest.approx(expected)
    later = [start(tmp_path, name).find() for name in ("later", "latest")]
    assert later[0] is not None
    assert later[1] is not None
    assert later[0].lookup(KEYS).tolist() == later[1].lookup(KEYS).tolist()
    left = files(tmp_path / "artifacts")
    assert len(left) == 2 * (1 if step == 0.0 else 3)
    assert not [name for name in left if ".parts" in name or ".tmp" in name]


def test_who_comes_second_takes_what_the_first_has_published(tmp_path: Path) -> None:
    slow, quick = start(tmp_path, "slow", value=1.0), start(tmp_path, "quick", value=2.0)
    others: list[Sidecar] = []

    def overtaken() -> None:
        if not others:
            others.append(quick.make())

    slow.meet = overtaken
    assert slow.make().lookup(KEYS).tolist() == others[0].lookup(KEYS).tolist()
    assert len(files(tmp_path / "artifacts")) == 2


def test_the_next_attempt_goes_on_with_the_parts_and_the_last_one_is_in_nobodys_way(
    tmp_path: Path,
) -> None:
    first = start(tmp_path, "job", attempt="1", value=1.0)
    first.meet = first.ask_to_stop
    with pytest.raises(Interrupted):
        first.make()
    done = list(first.computed)
    assert 0 < len(done) < len(KEYS)
    second = start(tmp_path, "job", attempt="2", value=2.0)
    stray = start(tmp_path, "job", attempt="1", value=3.0)
    stray.meet = stray.ask_to_stop

    def come_back() -> None:
        """The first attempt, with other values for responses that the second computes."""
        if not stray.computed:
            with pytest.raises(Interrupted):
                stray.make()

    second.meet = come_back
    sidecar = second.make()
    assert sorted(second.computed) == sorted(set(KEYS) - set(done))
    assert set(stray.computed) & set(second.computed), "it computed nothing of the same"
    assert sidecar.lookup(done).tolist() == [1.0 + number for number in range(len(done))]
    assert sidecar.lookup(second.computed).tolist() == [2.0 + n % 4 for n in range(8)]


def test_a_damaged_one_is_made_anew_and_one_beside_it_is_taken(tmp_path: Path) -> None:
    first = start(tmp_path, "first", value=1.0).make()
    (place,) = (tmp_path / "artifacts").rglob("reward.parquet")
    content = place.read_bytes()
    place.write_bytes(content[:-1] + b"?")
    second = start(tmp_path, "second", value=1.0)
    assert second.find() is None
    assert "cannot be used and are made anew" in second.told[0]
    assert second.make().lookup(KEYS).tolist() == first.lookup(KEYS).tolist()
    assert place.read_bytes() == content
    beside = place.parents[1] / ("0" * 32)
    beside.mkdir()
    for file in place.parent.iterdir():
        (beside / file.name).write_bytes(file.read_bytes())
    (beside / "reward.parquet").write_bytes(b"?")
    third = start(tmp_path, "third")
    found = third.find()
    assert found is not None
    assert found.lookup(KEYS).tolist() == first.lookup(KEYS).tolist()
    assert len(third.told) == 1


def test_nobody_removes_parts_of_another(tmp_path: Path) -> None:
    first = start(tmp_path, "job", value=1.0)
    first.meet = first.ask_to_stop
    with pytest.raises(Interrupted):
        first.make()
    parts = {name for name in files(tmp_path / "artifacts") if ".parts/" in name}
    assert parts
    start(tmp_path, "other").make()
    assert parts <= files(tmp_path / "artifacts")
    assert start(tmp_path, "job", attempt="2").find() is not None
    assert not parts & files(tmp_path / "artifacts"), "its own run has no use for them any more"


def test_the_marker_of_a_side_car_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, "first").make()
    read: list[str] = []
    text = ArtifactStore.read_text

    def noted(self: ArtifactStore, key: str) -> str | None:
        read.append(key)
        return text(self, key)

    monkeypatch.setattr(ArtifactStore, "read_text", noted)
    assert start(tmp_path, "second").find() is not None
    assert len(read) == 1


def test_one_whose_marker_is_damaged_is_told_and_made_anew(tmp_path: Path) -> None:
    start(tmp_path, "first").make()
    (marker,) = (tmp_path / "artifacts").rglob("COMMITTED")
    marker.write_text("{")
    second = start(tmp_path, "second", value=1.0)
    assert second.find() is None
    assert "COMMITTED is damaged" in second.told[0]
    assert second.make().lookup(KEYS[:1]).tolist() == [1.0]

"""Two runs that score into the same file at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.scores.sharing import IDENTITY, KEYS, Job


def start(folder: Path, name: str, value: float) -> Job:
    return Job(ArtifactStore(str(folder / "artifacts")), folder, name, value=value)


@pytest.mark.parametrize("batch", [1, 2, 3], ids=["first", "second", "last"])
def test_who_is_overtaken_ends_well_and_what_is_there_stays(tmp_path: Path, batch: int) -> None:
    out = tmp_path / "rewards.parquet"
    slow, quick = start(tmp_path, "slow", 1.0), start(tmp_path, "quick", 100.0)
    batches: list[list[float]] = []

    def overtaken() -> None:
        batches.append([])
        if len(batches) == batch:
            assert quick.score(out).responses == len(KEYS)
            batches[-1] = Sidecar.open(str(out), IDENTITY).lookup(KEYS).tolist()

    slow.meet = overtaken
    assert slow.score(out).responses == len(KEYS)
    assert len(batches) == 3, "it computes what was missing when it began"
    assert Sidecar.open(str(out), IDENTITY).lookup(KEYS).tolist() == batches[batch - 1]
    assert not Path(f"{out}.parts").exists()


def test_parts_that_come_later_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    out = tmp_path / "rewards.parquet"
    slow, quick = start(tmp_path, "slow", 1.0), start(tmp_path, "quick", 100.0)

    def stopped() -> None:
        if not quick.computed:
            quick.meet = quick.ask_to_stop
            with pytest.raises(Interrupted):
                quick.score(out)

    slow.meet = stopped
    slow.score(out)
    found = Sidecar.open(str(out), IDENTITY).lookup(KEYS)
    assert found.max() < 100.0, "values of one run"
    left = list(Path(f"{out}.parts").rglob("*.parquet"))
    assert len(left) == 1
    third = start(tmp_path, "third", 7.0)
    assert third.score(out).computed == 0
    assert Sidecar.open(str(out), IDENTITY).lookup(KEYS).tolist() == found.tolist()
    assert not Path(f"{out}.parts").exists()

"""The record of all starts of a run, and a writer that comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.storage.artifacts import ArtifactStore

KEY = "run/attempts.json"


def attempts(store: ArtifactStore, *, hour: int) -> Attempts:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    return Attempts(store, KEY, lambda: start)


@pytest.mark.parametrize("ends", [False, True], ids=["its begin", "its end"])
def test_a_late_write_of_an_earlier_attempt_takes_nothing_away(tmp_path: Path, ends: bool) -> None:
    store = ArtifactStore(str(tmp_path))
    first, second = attempts(store, hour=0), attempts(store, hour=1)
    assert first.begin(processes=1) == 1
    if ends:
        first.end(exit_name="Interrupted", step=3)
    late = store.read_text(KEY)
    assert late is not None
    assert second.begin(processes=4) == 2
    store.write_text(KEY, late)  # it had looked at the claim, and was cut off until now
    found = second.end(exit_name="Succeeded", step=7)
    assert [(entry["attempt"], entry["exit"], entry["processes"]) for entry in found] == [
        (1, "Interrupted" if ends else "Killed", 1),
        (2, "Succeeded", 4),
    ]
    assert found[1]["startedAt"] == "2026-01-01T01:00:00+00:00"
    assert json.loads(store.read_text(KEY) or "") == found
    assert attempts(store, hour=2).begin(processes=1) == 3


def test_an_attempt_that_ends_late_says_nothing_of_its_successor(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    first, second = attempts(store, hour=0), attempts(store, hour=1)
    first.begin(processes=1)
    second.begin(processes=1)
    assert len(first.end(exit_name="Superseded", step=1)) == 1
    assert [e["exit"] for e in second.end(exit_name="Succeeded", step=2)] == ["Killed", "Succeeded"]


def test_a_run_that_is_begun_anew_has_no_earlier_attempts(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    attempts(store, hour=0).begin(processes=1)
    second = attempts(store, hour=1)
    assert second.begin(processes=1, fresh=True) == 1
    assert len(second.end(exit_name="Succeeded", step=1)) == 1


def test_a_record_that_is_damaged_is_told(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    store.write_text(KEY, "[{")
    with pytest.raises(StorageError, match=r"attempts\.json is damaged .* remove it to go on"):
        attempts(store, hour=0).begin(processes=1)

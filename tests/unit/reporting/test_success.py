"""A run that is killed before its manifest has not succeeded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.reporting.trackers.aside import Trackers
from mmrlhf_jobs.sampling import job as sampling_job
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training import trainer as training
from mmrlhf_jobs.training.hardest import HardestRows
from mmrlhf_jobs.training.saving import Savings


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    store = ArtifactStore(str(tmp_path))
    made = Attempts(store, "run/attempts.json", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    made.begin(processes=1)
    return made


def ends(attempts: Attempts) -> list[Any]:
    return [one.get("exit") for one in attempts.read()]


def test_an_end_is_noted_when_it_is_kept(attempts: Attempts) -> None:
    found = attempts.ended(exit_name="Succeeded", step=3)
    assert found[-1]["exit"] == "Succeeded"
    assert ends(attempts) == [None]
    attempts.keep(found)
    assert ends(attempts) == ["Succeeded"]


def die(*_: object) -> None:
    raise Killed


def test_a_training_killed_before_its_manifest_has_not_succeeded(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "make_manifest", lambda *_, attempts, **__: {"of": attempts})
    trainer = SimpleNamespace(
        _attempts=attempts,
        _engine=SimpleNamespace(name="plain"),
        _job=SimpleNamespace(
            spec=SimpleNamespace(tracking=SimpleNamespace(report_tokens=1)),
        ),
        _layout=SimpleNamespace(metrics="run/metrics.jsonl", report="run/report.html"),
        _context=SimpleNamespace(tell=lambda _: None),
        _hardest=HardestRows(),
        _samples=(),
        _outcome=SimpleNamespace(write_text=lambda *_: None, conclude=die),
        _preparation=SimpleNamespace(features=SimpleNamespace(record=dict)),
        _runtime=SimpleNamespace(is_main=True, world_size=1, gather=lambda value: [value]),
        _step=3,
        _savings=Savings(),
        _skipped=0,
        _lineage={},
        _trackers=Trackers((), lambda: datetime(2026, 1, 1, tzinfo=UTC)),
    )
    log: Any = SimpleNamespace(text=lambda: "")
    policy, prepared = SimpleNamespace(lora=None), SimpleNamespace(metrics={})
    with pytest.raises(Killed):
        training.Trainer._conclude(trainer, policy, prepared, log, {})  # type: ignore[arg-type]
    assert ends(attempts) == [None]


def test_a_sampling_killed_before_its_manifest_has_not_succeeded(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling_job, "write_results", lambda *_: "digest")
    monkeypatch.setattr(sampling_job, "draw", lambda *_: None)
    monkeypatch.setattr(sampling_job, "write_manifest", die)
    run = SimpleNamespace(_attempts=attempts, _stages=None, _made=3, _lineage={})
    with pytest.raises(Killed):
        sampling_job._Run._publish(run, None, None)  # type: ignore[arg-type]
    assert ends(attempts) == [None]

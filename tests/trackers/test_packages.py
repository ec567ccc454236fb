"""What the packages themselves make of a run, and of one that goes on."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api import MlflowTracking, TrainTracking, WandbTracking
from mmrlhf_jobs.reporting.trackers.opening import check_tracking, open_trackers
from mmrlhf_jobs.reporting.trackers.tracker import RunIdentity

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not ours to mend

IDENTITY = RunIdentity(
    id="6f1c-uid", name="team/align", job={"spec": {"seed": 3}}, tags={"team": "vision"}
)
ROWS = [{"step": step, "loss": 1 / step, "margin": None, "seconds": 2.0} for step in range(1, 7)]


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs an attempt: restored rows, new rows; returns what was told."""
    attempts = 0

    def run(tracking: dict[str, Any], restored: int, upto: int, *, succeeded: bool) -> list[str]:
        nonlocal attempts
        attempts += 1
        told: list[str] = []

        def keep(file: Path, name: str) -> None:
            (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, tmp_path / "run" / name)

        spec = TrainTracking.model_validate(tracking)
        check_tracking(spec)
        trackers = open_trackers(
            spec,
            IDENTITY,
            scratch=tmp_path / f"scratch-{attempts}",
            keep=keep,
            clock=lambda: datetime(2026, 11, 29, tzinfo=UTC),
            tell=told.append,
        )
        trackers.begin(ROWS[:restored])
        for row in ROWS[restored:upto]:
            trackers.log(row)
        trackers.keep()
        for name, counts in trackers.close(succeeded=succeeded, patience=300).items():
            assert counts == {"taken": upto, "lost": 0, "unfinished": 0}, (name, told)
        return told

    return run


def test_tensorboard_reads_the_file_and_no_step_twice(
    attempt: Callable[..., list[str]], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert attempt({}, 0, 4, succeeded=False) == []
    assert attempt({}, 2, 6, succeeded=True) == []
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["loss", "seconds"], "margin is not finite"
    found = events.Scalars("loss")
    assert [one.step for one in found] == [1, 2, 3, 4, 5, 6]
    assert [one.value for one in found] == pytest.approx([row["loss"] for row in ROWS])


def test_an_offline_run_of_wandb_is_in_the_file_that_is_kept(
    attempt: Callable[..., list[str]], tmp_path: Path
) -> None:
    tracking = {"wandb": {"project": "alignment", "mode": "offline"}}
    assert attempt(tracking, 0, 4, succeeded=False) == []
    assert attempt(tracking, 2, 6, succeeded=True) == []
    (file,) = (tmp_path / "run/wandb").iterdir()
    assert file.name == "run-6f1c-uid.wandb"
    records = read_datastore(file)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.project, run.display_name) == ("6f1c-uid", "alignment", "team/align")
    assert {item.key: json.loads(item.value_json) for item in run.config.update}["spec"] == {
        "seed": 3
    }
    history = [
        {
            item.key or ".".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records
        if record.HasField("history")
    ]
    assert [row["_step"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in history] == [row["loss"] for row in ROWS]


def read_datastore(file: Path) -> list[Any]:
    """Records of an offline run, whose file is a log as LevelDB writes it, in blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts, records = file.read_bytes(), 7, list[bytes](), []
    assert content[:4] == b":W&B"
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        crc, length, kind = struct.unpack("<IHB", content[place : place + 7])
        data = content[place + 7 : place + 7 + length]
        assert zlib.crc32(bytes([kind]) + data) == crc
        parts.append(data)
        if kind in {1, 4}:  # the whole of a record, or its last part
            records.append(wandb_internal_pb2.Record.FromString(b"".join(parts)))
            parts.clear()
        place += 7 + length
    return records


def test_mlflow_goes_on_in_the_same_run(attempt: Callable[..., list[str]], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = {"mlflow": {"trackingUri": uri, "experiment": "alignment"}}
    assert attempt(tracking, 0, 4, succeeded=False) == []
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("alignment")
    assert experiment is not None
    (before,) = client.search_runs([experiment.experiment_id])
    assert before.info.status == "KILLED"
    # From the checkpoint of step 2: steps 3 and 4 are made again, and are there already.
    assert attempt(tracking, 2, 6, succeeded=True) == []
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    assert run.info.run_name == "team/align"
    assert run.data.params == {"spec.seed": "3"}
    assert run.data.tags["team"] == "vision"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [one.step for one in history] == [1, 2, 3, 4, 5, 6]
    assert [one.value for one in history] == [row["loss"] for row in ROWS]


@pytest.mark.parametrize(
    "tracking",
    [
        TrainTracking(
            wandb=WandbTracking(project="a", base_url="http://127.0.0.1:9", api_key_env="KEY")
        ),
        TrainTracking(mlflow=MlflowTracking(tracking_uri="http://127.0.0.1:9", experiment="a")),
    ],
)
def test_a_service_that_nobody_answers_for_ends_nothing(
    tracking: TrainTracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "0123456789" * 4)
    told: list[str] = []
    trackers = open_trackers(
        tracking,
        IDENTITY,
        scratch=tmp_path,
        keep=lambda file, name: None,
        clock=lambda: datetime(2026, 11, 29, tzinfo=UTC),
        tell=told.append,
    )
    trackers.begin([])
    for row in ROWS:
        trackers.log(row)
    counts = trackers.close(succeeded=True, patience=2)
    assert counts["TensorBoard"] == {"taken": 6, "lost": 0, "unfinished": 0}
    (other,) = counts.keys() - {"TensorBoard"}
    assert counts[other] == {"taken": 0, "lost": 6, "unfinished": 1}
    assert any(f"{other} has not taken 6 of 6 rows" in line for line in told), told
    assert "127.0.0.1" in told[-1] or "does not come to an end" in told[-1], told

"""Trackers beside a training: what they are given, and that none of them ends or delays it."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api import MlflowTracking, TrainTracking, WandbTracking
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.reporting.trackers.aside import Aside, Trackers
from mmrlhf_jobs.reporting.trackers.mlflow_run import MlflowRun, flatten
from mmrlhf_jobs.reporting.trackers.opening import check_tracking
from mmrlhf_jobs.reporting.trackers.tracker import Row, RunIdentity, Tracker, date_rows
from mmrlhf_jobs.reporting.trackers.wandb_run import WandbRun

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
IDENTITY = RunIdentity(id="uid-1", name="team/align", job={"spec": {"seed": 3, "a": {"b": [1]}}})
ROWS: list[Row] = [{"step": step, "loss": 1 / step} for step in range(1, 7)]


class Recorder:
    """A tracker that fails where it is told to."""

    name = "recorder"

    def __init__(self, *, fails: Any = lambda work, row: False) -> None:
        self.calls: list[str] = []
        self.rows: list[tuple[int, float]] = []
        self.fails = fails

    def _do(self, work: str, row: Row | None = None) -> None:
        self.calls.append(work)
        if self.fails(work, row):
            raise ConnectionError(f"{work}: https://me:word@host\n is away")

    def open(self) -> None:
        self._do("open")

    def log(self, row: Row, time: float) -> None:
        self._do("log", row)
        self.rows.append((int(row["step"]), time))

    def keep(self) -> None:
        self._do("keep")

    def close(self, *, succeeded: bool) -> None:
        self._do(f"close {succeeded}")


def run(tracker: Tracker, told: list[str], *, patience: float = 60, **options: Any) -> Any:
    """Give a tracker two restored rows and four new ones."""
    aside = Aside(tracker, tell=told.append, pause=0.001, **options)
    trackers = Trackers([aside], lambda: NOON)
    trackers.begin([{**row, "seconds": 2.0} for row in ROWS[:2]])
    for row in ROWS[2:]:
        trackers.log(row)
    trackers.keep()
    return trackers.close(succeeded=True, patience=patience)["recorder"]


def test_rows_come_in_order_with_their_times_and_the_end_last() -> None:
    tracker, told = Recorder(), list[str]()
    assert run(tracker, told) == {"taken": 6, "lost": 0, "unfinished": 0}
    noon = NOON.timestamp()
    assert tracker.rows == [(1, noon - 2), *((step, noon) for step in range(2, 7))]
    assert (tracker.calls[0], tracker.calls[-1]) == ("open", "close True")
    assert tracker.calls[-2] == "keep"
    assert not told


def test_what_fails_for_a_while_is_tried_again_and_loses_nothing() -> None:
    failures = iter([True, True, False, False, True, True])
    tracker, told = Recorder(fails=lambda work, row: next(failures, False)), list[str]()
    aside = Aside(tracker, tell=told.append, pause=0.001)
    trackers = Trackers([aside], lambda: NOON)
    trackers.begin(ROWS)
    wait_for(lambda: len(tracker.rows) == 6)
    assert trackers.close(succeeded=False)["recorder"] == {"taken": 6, "lost": 0, "unfinished": 0}
    assert [step for step, _ in tracker.rows] == [1, 2, 3, 4, 5, 6]
    assert told == [
        (
            "recorder does not take the figures; the job goes on: "
            "ConnectionError: open: https://***@host is away"
        ),
        "recorder takes the figures again",
        (
            "recorder does not take the figures; the job goes on: "
            "ConnectionError: log: https://***@host is away"
        ),
        "recorder takes the figures again",
    ]
    assert tracker.calls[-1] == "close False"


@pytest.mark.parametrize(("failures", "lost"), [(3, 0), (30, 6)])
def test_who_is_away_at_the_end_is_waited_for_a_moment(failures: int, lost: int) -> None:
    left = iter(range(failures))
    tracker = Recorder(fails=lambda work, row: work == "log" and next(left, None) is not None)
    told: list[str] = []
    aside = Aside(tracker, tell=told.append, pause=0.05)
    aside.start()
    for row in ROWS:
        aside.put(row, 0.0)
    counts = aside.close(time.monotonic() + 60, succeeded=True)
    assert counts == {"taken": 6 - lost, "lost": lost, "unfinished": 0}
    if lost:
        assert tracker.calls.count("log") <= 4 + 12 + 5, "tried again for each row"
        assert told[-1].endswith("log: https://***@host is away"), "its end alone mends nothing"
    else:
        assert told[-1] == "recorder takes the figures again"


def test_what_fails_after_the_last_row_and_then_not_is_told_to_be_well() -> None:
    left = iter(range(2))
    tracker = Recorder(
        fails=lambda work, row: work.startswith("close") and next(left, None) is not None
    )
    told: list[str] = []
    assert run(tracker, told) == {"taken": 6, "lost": 0, "unfinished": 0}
    assert "close True: https://***@host is away" in told[0]
    assert told[1:] == ["recorder takes the figures again"]


def wait_for(condition: Any) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


def test_a_row_that_is_always_refused_is_counted_and_the_rest_is_taken() -> None:
    tracker = Recorder(fails=lambda work, row: row is not None and row["step"] == 3)
    told: list[str] = []
    aside = Aside(tracker, tell=told.append, pause=0.0001)
    aside.start()
    for row in ROWS:
        aside.put(row, 0.0)
    wait_for(lambda: len(tracker.rows) == 5)
    assert tracker.calls.count("log") == 5 + 12
    counts = aside.close(time.monotonic() + 60, succeeded=True)
    assert counts == {"taken": 5, "lost": 1, "unfinished": 0}
    assert told[-1].startswith("recorder has not taken 1 of 6 rows of metrics.jsonl")


@pytest.mark.parametrize("work", ["open", "close True"])
def test_what_never_succeeds_ends_nothing_and_is_told(work: str) -> None:
    tracker, told = Recorder(fails=lambda done, row: done == work), list[str]()
    taken = 0 if work == "open" else 6
    assert run(tracker, told) == {"taken": taken, "lost": 6 - taken, "unfinished": 1}
    assert f"{work}: https://***@host is away" in told[-1]
    assert f"has not taken {6 - taken} of 6 rows" in told[-1]


def test_a_tracker_that_hangs_is_not_waited_for() -> None:
    released = threading.Event()

    def hang(work: str, row: Row | None) -> bool:
        return work == "log" and not released.wait(60)

    tracker, told = Recorder(fails=hang), list[str]()
    try:
        counts = run(tracker, told, patience=0.05, rows=4)
        # One is in its hands; of the others the newest four wait, and the oldest was dropped.
        assert counts["taken"] == 0
        assert counts["lost"] == 6
        assert counts["unfinished"] == 1
        assert told[-1].endswith("it does not come to an end")
    finally:
        released.set()
    wait_for(lambda: tracker.calls[-1] == "close True")
    assert len(tracker.rows) in {4, 5}
    assert tracker.rows[-1][0] == 6


def test_restored_rows_lie_before_now_by_what_each_took() -> None:
    rows: list[Row] = [{"step": 1, "seconds": 5.0}, {"step": 1, "heldOut": 1}, {"step": 2}]
    noon = NOON.timestamp()
    assert [when - noon for _, when in date_rows(rows, lambda: NOON)] == [0, 0, 0]
    rows = [{"step": 1, "seconds": 5.0}, {"step": 2, "seconds": 3.0}]
    assert [when - noon for _, when in date_rows(rows, lambda: NOON)] == [-3.0, 0]


class FakeWandb(types.ModuleType):
    """What is used of wandb."""

    def __init__(self, step: int) -> None:
        super().__init__("wandb")
        self.step = step
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.ended: list[int] = []

    def Settings(self, **fields: Any) -> dict[str, Any]:  # noqa: N802 - theirs
        return fields

    def init(self, **fields: Any) -> FakeWandb:
        self.fields = fields
        return self

    def log(self, figures: dict[str, float], *, step: int) -> None:
        self.logged.append((step, figures))

    def finish(self, *, exit_code: int) -> None:
        self.ended.append(exit_code)


def test_a_wandb_run_goes_on_by_the_id_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb(step=4)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("MY_KEY", "the-key")
    settings = WandbTracking(project="p", entity="e", api_key_env="MY_KEY")
    tracker = WandbRun(settings, IDENTITY, tmp_path / "w", lambda file, name: None)
    tracker.open()
    for row in [*ROWS, {"step": 6, "afterMargin": None, "afterLoss": 2.0}]:
        tracker.log(row, 0.0)
    tracker.close(succeeded=False)
    fields = fake.fields
    assert (fields["id"], fields["name"], fields["resume"]) == ("uid-1", "team/align", "allow")
    assert (fields["project"], fields["entity"]) == ("p", "e")
    assert fields["settings"]["api_key"] == "the-key"
    assert fields["settings"]["console"] == "off"
    assert "the-key" not in str({**fields, "settings": None})
    assert fake.logged == [
        (4, {"loss": 1 / 4}),
        (5, {"loss": 1 / 5}),
        (6, {"loss": 1 / 6}),
        (6, {"afterLoss": 2.0}),
    ]
    assert fake.ended == [1]


class FakeMlflow:
    """What is used of MLflow: a server with at most one run."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.history: list[Any] = []
        self.params: dict[str, str] = {}
        self.batches: list[int] = []

    def client(self, *, tracking_uri: str) -> FakeMlflow:
        self.uri = tracking_uri
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return types.SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, places: list[str], filter_string: str) -> list[Any]:
        assert filter_string == "tags.`mmrlhf.uid` = 'uid-1'"
        return self.runs

    def create_run(self, place: str, *, tags: dict[str, str], run_name: str) -> Any:
        info = types.SimpleNamespace(run_id="r", name=run_name, status="RUNNING", tags=tags)
        self.runs = [types.SimpleNamespace(info=info, data=types.SimpleNamespace(metrics={}))]
        return self.runs[0]

    def update_run(self, run_id: str, status: str) -> None:
        self.runs[0].info.status = status

    set_terminated = update_run

    def get_metric_history(self, run_id: str, name: str) -> list[Any]:
        return [one for one in self.history if one.key == name]

    def log_batch(self, run_id: str, *, metrics: Any = (), params: Any = ()) -> None:
        self.history += metrics
        self.runs[0].data.metrics |= {one.key: one.value for one in metrics}
        self.params |= dict(params)
        self.batches.append(len(metrics) + len(params))


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    fake = FakeMlflow()
    module = types.SimpleNamespace(MlflowClient=fake.client)

    def metric(key: str, value: float, timestamp: int, step: int) -> Any:
        return types.SimpleNamespace(key=key, value=value, timestamp=timestamp, step=step)

    entities = types.SimpleNamespace(Metric=metric, Param=lambda key, value: (key, value))
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "")
    return fake


def test_an_mlflow_run_is_found_by_its_tag_and_has_no_step_twice(
    mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "token")
    settings = MlflowTracking(tracking_uri="https://flow.example", experiment="x", token_env="WORD")
    for first, last, succeeded in ((0, 4, False), (2, 6, True)):
        tracker = MlflowRun(settings, IDENTITY)
        tracker.open()
        for row in [*ROWS[:first], *ROWS[first:last]]:
            tracker.log(row, 10.0)
        tracker.log({"step": last, "heldOutMargin": 0.5, "heldOutLoss": None}, 10.0)
        tracker.close(succeeded=succeeded)
    losses = [one.step for one in mlflow.history if one.key == "loss"]
    assert losses == [1, 2, 3, 4, 5, 6]
    assert [one.step for one in mlflow.history if one.key == "heldOutMargin"] == [4, 6]
    assert {one.timestamp for one in mlflow.history} == {10_000}
    assert not [one for one in mlflow.history if one.key == "heldOutLoss"]
    assert mlflow.params == {"spec.seed": "3", "spec.a.b": "[1]"}
    info = mlflow.runs[0].info
    assert (info.name, info.status, info.tags["mmrlhf.uid"]) == ("team/align", "FINISHED", "uid-1")


def test_parameters_fit_what_mlflow_takes(mlflow: FakeMlflow) -> None:
    job = {f"f{number}": "x" * 900 for number in range(205)}
    tracker = MlflowRun(
        MlflowTracking(tracking_uri="sqlite:///a.db", experiment="x"), RunIdentity("u", "n", job)
    )
    mlflow.search_runs = lambda places, filter_string: []  # type: ignore[method-assign]
    tracker.open()
    assert mlflow.batches == [100, 100, 5]
    assert dict(flatten(job))["f7"] == "x" * 500


@pytest.mark.parametrize(
    ("spec", "environ", "message"),
    [
        (
            TrainTracking(wandb=WandbTracking(project="p", mode="offline")),
            {},
            (
                "spec.tracking.wandb: needs the package wandb, which is not installed here;"
                " install mmrlhf[wandb] in the image or environment of the job, or remove the field"
            ),
        ),
        (
            TrainTracking(mlflow=MlflowTracking(tracking_uri="sqlite:///a", experiment="x")),
            {},
            "spec.tracking.mlflow: needs the package mlflow-skinny or mlflow, which",
        ),
        (
            TrainTracking(wandb=WandbTracking(project="p")),
            {"wandb": ""},
            (
                "spec.tracking.wandb.apiKeyEnv: names WANDB_API_KEY, which is not set; in a cluster"
                " podTemplate.env gives it from a Secret, on this machine export it"
            ),
        ),
        (
            TrainTracking(
                mlflow=MlflowTracking(tracking_uri="https://a", experiment="x", token_env="T")
            ),
            {"mlflow": ""},
            "spec.tracking.mlflow.tokenEnv: names T, which is not set",
        ),
    ],
)
def test_a_missing_package_or_key_is_one_message_before_training(
    spec: TrainTracking, environ: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = set(environ)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in installed or None)
    with pytest.raises(SpecError, match=r"^spec\.tracking\.") as found:
        check_tracking(spec, {})
    assert str(found.value).startswith(message)


def test_what_is_there_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracking(TrainTracking(), {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    wandb = WandbTracking(project="p")
    check_tracking(TrainTracking(wandb=wandb), {"WANDB_API_KEY": "k"})
    check_tracking(TrainTracking(wandb=wandb.model_copy(update={"mode": "offline"})), {})

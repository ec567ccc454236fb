"""What runs have cost, by their attempts."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.errors import NotFoundError
from mmrlhf_api.prices import Prices
from mmrlhfctl.text.cost import (
    cost_row,
    figure_gained,
    gate_lines,
    spent_by,
    told_prices,
    total_line,
)
from mmrlhfctl.text.forecast import Earlier, forecast, forecast_lines
from mmrlhfctl.verbs import cost
from tests.patience import PATIENCE

Command = Callable[..., subprocess.CompletedProcess[str]]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def attempt(start: int, end: int | None, ending: str | None = None) -> dict[str, Any]:
    """An attempt between two hours of the day."""
    known = {} if ending is None else {"exit": ending}
    at = f"2026-01-01T{start:02}:00:00+00:00"
    return {"startedAt": at, "endedAt": end and f"2026-01-01T{end:02}:00:00+00:00", **known}


def test_what_ended_well_or_interrupted_is_kept_and_all_else_may_be_lost() -> None:
    attempts = [
        attempt(0, 2, "Interrupted"),
        attempt(2, 3, "StorageError"),
        attempt(3, None, "Killed"),  # held its GPUs until the next began, at most
        attempt(5, 9, "Succeeded"),
    ]
    one = spent_by("a", attempts, gpus=8, ended=True, now=NOW, waited=1800.0)
    assert one.seconds == {
        "Interrupted": 7200,
        "StorageError": 3600,
        "Killed": 7200,
        "Succeeded": 14400,
    }
    assert (one.gpu_hours, one.lost()) == (72.0, {"StorageError": 8.0, "Killed": 16.0})
    priced = replace(one, price=2.5)
    assert cost_row(priced, priced=True, figure=None) == [
        *("a", "8", "9.00", "72.00", "24.00", "Killed 16.00, StorageError 8.00", "0.50", "180.00")
    ]
    assert total_line([priced, priced], prices=Prices(gpu_hour=2.5)) == (
        "144.00 GPU-hours in all, 360.00 at 2.5 each; at most 48.00 of them lost"
    )
    assert total_line([one], prices=None) == "72.00 GPU-hours in all; at most 24.00 of them lost"


def test_an_attempt_without_an_end_runs_or_is_not_counted() -> None:
    attempts = [attempt(10, None)]
    running = spent_by("a", attempts, gpus=1, ended=False, now=NOW)
    assert (running.gpu_hours, running.lost(), running.unknown) == (2.0, {}, 0)
    lost = spent_by("a", attempts, gpus=1, ended=True, now=NOW)
    assert (lost.gpu_hours, lost.unknown) == (0.0, 1)
    assert cost_row(lost, priced=False, figure=None)[5] == "1 without an end, not counted"
    odd = spent_by("a", [{"startedAt": 5}, {}], gpus=1, ended=True, now=NOW)
    assert odd.unknown == 2
    rejected = spent_by("a", [attempt(1, 2, "Rejected")], gpus=1, ended=True, now=NOW)
    assert (rejected.gpu_hours, rejected.lost()) == (1.0, {})


@pytest.mark.parametrize(
    ("metrics", "gained", "cell"),
    [
        ({"beforeA": 0.5, "afterA": 0.75}, 0.25, "0.32"),  # 4 GPU-hours at 2 over 25 points
        ({"beforeA": 0.75, "afterA": 0.5}, -0.25, ""),
        ({"beforeA": 0.5, "afterA": 0.5}, 0.0, ""),
        ({"afterA": 0.75}, None, ""),
        ({"beforeA": True, "afterA": 0.75}, None, ""),
    ],
)
def test_a_point_costs_what_was_paid_for_what_was_gained(
    metrics: dict[str, Any], gained: float | None, cell: str
) -> None:
    assert figure_gained(metrics, "afterA") == gained
    assert figure_gained(metrics, "A") is None
    one = spent_by("a", [attempt(0, 4, "Succeeded")], gpus=1, ended=True, now=NOW, metrics=metrics)
    assert cost_row(replace(one, price=2.0), priced=True, figure="afterA")[-1] == cell
    assert cost_row(one, priced=True, figure="afterA")[-1] == "", "it has no price"


def test_prices_that_jobs_have_are_summed_if_they_are_paid_in_one_currency() -> None:
    plain = spent_by("a", [attempt(0, 4, "Succeeded")], gpus=2, ended=True, now=NOW)
    euros = replace(plain, price=2.5, currency="EUR")
    assert told_prices([plain]) is None
    prices = told_prices([plain, euros])
    assert prices is not None
    assert prices.heading == "PRICE (EUR)"
    assert [cost_row(one, priced=True, figure=None)[-1] for one in (plain, euros)] == ["", "20.00"]
    assert total_line([plain, euros], prices=prices) == (
        "16.00 GPU-hours in all, 20.00 EUR at 2.5 each (1 without a price not counted); at most"
        " 0.00 of them lost"
    )
    with pytest.raises(ValueError, match="the jobs are paid in EUR, USD"):
        told_prices([euros, replace(euros, currency="USD")])


def test_a_point_of_the_gate_is_what_all_that_led_to_it_have_cost() -> None:
    trained = spent_by("a", [attempt(0, 4, "Succeeded")], gpus=2, ended=True, now=NOW)
    metrics = {
        "promoted": 1.0,
        "judge.difference": 0.04,
        "judge.winRate": 0.6,
        "reward.gain": -0.5,
        "bench.v2.difference": 0.02,
    }
    judged = spent_by(
        "gate", [attempt(4, 5, "Promoted")], gpus=0, ended=True, now=NOW, metrics=metrics
    )
    runs = [replace(one, price=2.5, currency="EUR") for one in (trained, judged)]
    assert gate_lines(runs, prices=told_prices(runs)) == [
        "bench.v2: +2.00 points by the gate, 4.00 GPU-hours each, 10.00 EUR",
        "judge: +4.00 points by the gate, 2.00 GPU-hours each, 5.00 EUR",
        "reward: -50.00 points by the gate",
    ]
    assert gate_lines([runs[0], judged], prices=told_prices(runs))[1].endswith("5.00 EUR")
    half = gate_lines([trained, *runs[1:]], prices=told_prices(runs))
    assert half[1] == "judge: +4.00 points by the gate, 2.00 GPU-hours each"
    assert gate_lines([trained], prices=None) == []
    assert gate_lines([judged, judged], prices=None) == [], "whose points are they?"


def test_records_are_counted_without_a_cluster(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    record = {
        "job": {"spec": {"resources": {"nodes": 2, "gpusPerNode": 4}}},
        "attempts": [attempt(0, 1, "ModelError"), attempt(1, 2, "Succeeded")],
        "metrics": {"beforeA": 0.5, "afterA": 0.6},
    }
    (run / "manifest.json").write_text(json.dumps(record))
    done = command("cost", "./run", "--price", "3", "--per", "afterA")
    assert done.returncode == 0, done.stderr
    head, row = [line.split("   ") for line in done.stdout.splitlines()]
    assert head[-2:] == ["PRICE", "A POINT"]
    assert [cell.strip() for cell in row if cell.strip()] == [
        *("./run", "8", "2.00", "16.00", "8.00", "ModelError 8.00", "-", "48.00", "4.80")
    ]
    assert done.stderr == "16.00 GPU-hours in all, 48.00 at 3 each; at most 8.00 of them lost\n"
    assert command("cost", "./run", "--price", "-1").returncode == 2


def test_each_pool_has_its_price_and_what_has_none_is_told() -> None:
    prices = Prices(currency="EUR", pools={"h100": 2.5, "old": 0.5})
    runs = [
        replace(one, price=prices.of(one.pool))
        for one in (
            spent_by(
                pool or "x", [attempt(0, 2, "Succeeded")], gpus=4, ended=True, now=NOW, pool=pool
            )
            for pool in ("h100", "old", None)
        )
    ]
    assert [cost_row(one, priced=True, figure=None)[-1] for one in runs] == ["20.00", "4.00", ""]
    assert total_line(runs, prices=prices) == (
        "24.00 GPU-hours in all, 24.00 EUR (1 without a price not counted);"
        " at most 0.00 of them lost"
    )
    assert prices.heading == "PRICE (EUR)"
    assert Prices(gpu_hour=1.0, pools={"h100": 2.5}).of("unknown") == 1.0


def test_what_the_operator_saw_stands_beside_what_attempts_said() -> None:
    told = {"Preempted": 3600.0, "OutOfMemory": 360.0}
    one = spent_by("a", [attempt(0, 2, "Killed")], gpus=2, ended=True, now=NOW, told=told)
    cells = cost_row(one, priced=False, figure=None)
    assert cells[5] == "Killed 4.00, as the operator saw it: Preempted 2.00, OutOfMemory 0.20"


def body(**changes: Any) -> dict[str, Any]:
    """A training under wire names."""
    training = {"epochs": 2, "queriesPerStep": 8, **changes.pop("training", {})}
    spec = {"model": {"uri": "s3://base/m"}, "training": training, "nodePool": "h100", **changes}
    return {"kind": "MMDPOJob", "spec": spec}


def earlier(hours: float, *, steps: int = 100, rows: int = 400, **changes: Any) -> Earlier:
    """A run of 100 steps of 8 queries, on 2 GPUs."""
    record = {"job": body(**changes), "steps": steps, "data": {"rows": rows}}
    end = (NOW.replace(hour=0) + timedelta(hours=hours)).isoformat()
    one = {"startedAt": NOW.replace(hour=0).isoformat(), "endedAt": end, "exit": "Succeeded"}
    return Earlier("r", record, spent_by("r", [one], gpus=2, ended=True, now=NOW))


def test_a_forecast_scales_what_earlier_runs_have_taken_and_says_its_spread() -> None:
    prices = Prices(currency="EUR", pools={"h100": 10.0})
    runs = [earlier(1.0), earlier(2.0), earlier(4.0)]  # 2, 4 and 8 GPU-hours for 800 queries
    same = forecast(body(), runs)
    assert (same.low, same.middle, same.high) == (2.0, 4.0, 8.0)
    longer = forecast(body(training={"epochs": 6}), runs)
    assert (longer.low, longer.middle, longer.high) == (6.0, 12.0, 24.0)
    bounded = forecast(body(training={"epochs": 6, "maxSteps": 25}), runs)
    assert (bounded.middle, bounded.assumed) == (
        1.0,
        ("time grows as the queries that are trained on",),
    )
    assert forecast_lines(longer, body(), prices) == [
        "about 12.00 GPU-hours (6.00 to 24.00), by 3 runs",
        "about 120.00 EUR (60.00 EUR to 240.00 EUR)",
        (
            "assumed: time grows as the queries that are trained on, and its data has as many rows"
            " as theirs"
        ),
        "attempts that are lost come on top of it",
    ]
    assert forecast_lines(forecast(body(), runs[:1]), body(nodePool="x"), prices)[:2] == [
        "about 2.00 GPU-hours, by one run alone: no spread is known",
        "its pool of nodes has no price",
    ]
    assert "too few to trust" in forecast_lines(forecast(body(), runs[:2]), body(), None)[0]


def test_runs_that_say_nothing_of_a_job_are_left_out_and_counted() -> None:
    step = earlier(1.0)
    runs = [
        earlier(1.0, model={"uri": "s3://base/other"}),
        earlier(1.0, adapter={"rank": 8}),
        earlier(1.0, training={"compile": True}),
        replace(step, spent=replace(step.spent, gpus=0)),
        replace(step, spent=replace(step.spent, seconds={"Killed": 3600.0})),
        replace(step, record={"job": {"kind": "StepJob"}}),
    ]
    found = forecast(body(), runs)
    assert (found.runs, sum(found.left_out.values())) == ((), 6)
    (line,) = forecast_lines(found, body(), None)
    assert line == (
        "there is nothing to go by: no earlier run of this kind and model; left out: 1 (another"
        " kind), 1 (another model), 1 (compiled or not), 1 (no GPU), 1 (no time of its attempts),"
        " 1 (with or without an adapter)"
    )
    lost = attempt(0, 3, "Killed"), attempt(3, 4, "Succeeded")
    half = replace(step, spent=spent_by("r", lost, gpus=2, ended=True, now=NOW))
    assert forecast(body(), [half]).middle == 2.0, "what is lost is no forecast of the work"


def test_a_job_file_is_forecast_by_the_runs_of_its_store(command: Command, tmp_path: Path) -> None:
    job = {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "MMDPOJob",
        "metadata": {"name": "next"},
        "spec": {
            "model": {"uri": "s3://base/m"},
            "data": {"train": {"uri": "s3://data/rows.jsonl"}},
            "training": {"epochs": 2, "queriesPerStep": 8},
            "reward": {"modelUri": "s3://base/judge"},
            "artifacts": {"uri": str(tmp_path / "store")},
        },
    }
    file = tmp_path / "next.json"
    file.write_text(json.dumps(job))
    table = tmp_path / "prices.yaml"
    table.write_text("currency: EUR\ngpuHour: 3\n")
    done = command("cost", "--forecast", str(file), "--prices", str(table))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == (
        "  there is nothing to go by: no earlier run of this kind and model"
    )
    submit = ("submit", "-f", str(file), "--dry-run=client")
    assert command(*submit).stderr == "", "there is nothing to go by"
    keep_runs(tmp_path / "store")
    done = command("cost", "--forecast", str(file), "--prices", str(table))
    assert done.stdout.splitlines()[1:3] == [
        "  about 4.00 GPU-hours (2.00 to 6.00), by 2 runs: too few to trust the spread",
        "  about 12.00 EUR (6.00 EUR to 18.00 EUR)",
    ]
    dry = command(*submit, MMRLHFCTL_PRICES=str(table))
    assert (dry.returncode, dry.stdout) == (0, "mmdpojob.mmrlhf.io/next valid (dry run)\n")
    told = [
        line.removeprefix("forecast for MMDPOJob default/next:") for line in dry.stderr.splitlines()
    ]
    assert [line.strip() for line in told] == [one.strip() for one in done.stdout.splitlines()[1:]]
    assert command(*submit, "-o", "name").stderr == "", "for programs"
    table.write_text("gpuHours: 3\n")
    wrong = command("cost", "--forecast", str(file), "--prices", str(table))
    assert (wrong.returncode, "gpuHours" in wrong.stderr) == (2, True)
    dry = command(*submit, MMRLHFCTL_PRICES=str(table))
    assert (dry.returncode, "gpuHours" in dry.stderr) == (0, True), "the job itself is valid"
    both = command("cost", "x", "--price", "1", "--prices", str(table))
    assert (both.returncode, "give one of --price and --prices" in both.stderr) == (2, True)
    none = command("cost")
    assert (none.returncode, "name a run" in none.stderr) == (2, True)


def keep_runs(store: Path) -> None:
    """Two runs of one job, of 2 GPU-hours and of 6."""
    for name in ("a", "b"):
        run = store / "default" / name / "u1"
        run.mkdir(parents=True)
        record = earlier(1.0 if name == "a" else 3.0).record
        spec = {**record["job"]["spec"], "resources": {"gpusPerNode": 2}}
        spec |= {"training": {**spec["training"], "compile": False}}
        spec |= {"parallelism": {"offload": "none"}}
        attempts = [attempt(0, 1 if name == "a" else 3, "Succeeded")]
        (run / "manifest.json").write_text(
            json.dumps({**record, "job": {**record["job"], "spec": spec}, "attempts": attempts})
        )


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        (NotFoundError("s3://runs: no such bucket"), "none: s3://runs: no such bucket"),
        (None, "none: s3://runs was not read within 0.01 s; "),
    ],
)
def test_a_forecast_beside_a_submission_fails_and_delays_nothing(
    fails: Exception | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    released = threading.Event()

    def find_runs(uri: str, **_: object) -> list[Any]:
        if fails is not None:
            raise fails
        released.wait(60 * PATIENCE)
        return []

    monkeypatch.setattr(cost, "find_runs", find_runs)
    job = {**body(), "metadata": {"name": "next"}}
    job["spec"]["artifacts"] = {"uri": "s3://runs"}
    patience = 60.0 if fails else 0.01
    try:
        cost.tell_forecast(job, cluster=None, namespace="team", patience=patience)
    finally:
        released.set()
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"forecast for MMDPOJob team/next: {words}")

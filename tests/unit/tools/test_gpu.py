"""What is measured on a card, and what is made of it: all but the measuring itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dpo import lengths
from tools.gpu.flops import Weights, find_peak, training_flops
from tools.gpu.results import compare, write
from tools.gpu.session import Case, CheckFailedError, Outcome, run_cases
from tools.gpu.table import Row, Settings, rows, shrink

RAGGED = ((7, (3, 5, 2)), (11, (4, 1)), (2, (6, 6, 6, 6)))


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float, figures: dict[str, Any] | None = None) -> Callable[[], Any]:
        def run() -> dict[str, Any]:
            self.now += seconds
            return figures or {}

        return run


def states(outcomes: Iterator[Outcome]) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in outcomes]


def run(cases: list[Case], clock: Clock, *, budget: float, cleared: list[int]) -> list[Outcome]:
    return list(
        run_cases(
            cases,
            budget=budget,
            clock=clock,
            out_of_memory=(MemoryError,),
            clear=lambda: cleared.append(1),
        )
    )


def test_cases_that_may_not_end_in_time_are_skipped_and_told_and_shorter_ones_still_run() -> None:
    clock = Clock()
    cases = [
        Case("first", clock.takes(50), needs=60),
        Case("long", clock.takes(50), needs=51),
        Case("fits", clock.takes(50), needs=50),
        Case("late", clock.takes(1)),
    ]
    found = run(cases, clock, budget=100, cleared=[])
    assert states(iter(found)) == [
        ("first", "done"),
        ("long", "skipped"),
        ("fits", "done"),
        ("late", "skipped"),
    ]
    assert found[0].seconds == 50
    assert found[1].reason == "50 s of 100 s are left, and it may need 51"
    assert clock.now == 200


def test_what_one_case_dies_of_is_told_and_the_others_run() -> None:
    def fail(error: BaseException) -> Callable[[], Any]:
        def run() -> dict[str, Any]:
            raise error

        return run

    clock, cleared = Clock(), list[int]()
    cases = [
        Case("large", fail(MemoryError("no room\nfor 7 GiB"))),
        Case("peer", fail(ImportError("No module named 'trl'"))),
        Case("check", fail(CheckFailedError("far off", {"apart": 3.0}))),
        Case("broken", fail(KeyError("x"))),
        Case("good", clock.takes(1, {"loss": 2.0})),
    ]
    found = run(cases, clock, budget=100, cleared=cleared)
    told = [(one.state, one.reason, one.figures) for one in found]
    assert told[:3] == [
        ("out of memory", "no room", {}),
        ("unavailable", "No module named 'trl'", {}),
        ("failed", "far off", {"apart": 3.0}),
    ]
    assert told[3][0] == "failed"
    assert "KeyError: 'x'" in told[3][1]
    assert told[4] == ("done", "", {"loss": 2.0})
    assert len(cleared) == 4, "memory is given back after every case that did not end well"


def test_a_stop_by_the_user_is_no_failure_of_a_case() -> None:
    def stop() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Case("stopped", stop)], Clock(), budget=1, cleared=[])


def test_tokens_and_pairs_are_those_of_a_count_by_hand() -> None:
    pairs = [(p, own, i, j) for p, own in RAGGED for i, j in combinations(range(len(own)), 2)]
    assert lengths.count_pairs(RAGGED) == len(pairs) == 10
    assert lengths.pairwise_tokens(RAGGED) == sum(2 * p + own[i] + own[j] for p, own, i, j in pairs)
    assert lengths.shared_tokens(RAGGED) == 7 + 10 + 11 + 5 + 2 + 24
    assert lengths.won_tokens(RAGGED) == sum(own[i] for _, own, i, _ in pairs)
    n, p, r = 5, 40, 6
    ratio = lengths.token_ratio(lengths.equal(n, p, r, 3))
    assert ratio == pytest.approx(n * (n - 1) * (p + r) / (p + n * r))


def test_drawn_lengths_follow_from_their_seed() -> None:
    drawn = lengths.log_normal(4, 300, 60, 400, seed=1)
    assert drawn == lengths.log_normal(4, 300, 60, 400, seed=1)
    assert drawn != lengths.log_normal(4, 300, 60, 400, seed=2)
    prompts = sorted(prompt for prompt, _ in drawn)
    assert 270 < prompts[200] < 330
    again = lengths.drawn_from(RAGGED, 8, 50, seed=3)
    assert {prompt for prompt, _ in again} == {7, 11, 2}
    assert {one for _, own in again for one in own} == {3, 5, 2, 4, 1, 6}
    assert all(len(own) == 8 for _, own in again)


def test_operations_are_those_of_a_count_token_by_token() -> None:
    weights = Weights(decoder=1000, head=300, tower=50, layers=3, width=16)
    for shared in (True, False):
        tokens = attending = predicted = 0.0
        for prompt, own in RAGGED:
            alone = [(prompt, (one,)) for one in own] if not shared else [(prompt, own)]
            predicted += sum(own)
            for start, parts in alone:
                tokens += start + sum(parts)
                # A token attends to those before it, and to half of itself.
                attending += sum(place + 0.5 for place in range(start))
                attending += sum(start + place + 0.5 for one in parts for place in range(one))
        expected = 6 * 1000 * tokens + 6 * 300 * predicted + 12 * 3 * 16 * attending + 2 * 50 * 9
        assert training_flops(weights, RAGGED, shared=shared, patches=9) == pytest.approx(expected)


def test_peaks_are_found_by_the_names_that_cards_have() -> None:
    assert find_peak("NVIDIA H100 80GB HBM3") == 989e12
    assert find_peak("NVIDIA H100 PCIe") == 756e12
    assert find_peak("NVIDIA A100-SXM4-80GB") == 312e12
    assert find_peak("NVIDIA L4") == 121e12
    assert find_peak("NVIDIA L40S") == 362e12
    assert find_peak("x86_64") is None


def test_the_table_has_what_is_to_be_shown_of_both_models() -> None:
    table = list(rows())
    assert len({row.name for row in table}) == len(table)
    for shape in ("LLaVA-OneVision-7B", "Qwen2.5-VL-7B"):
        found = {
            (row.n, row.kind, row.settings.recompute)
            for row in table
            if row.shape == shape and row.form == "shared"
        }
        kinds = ("equal", "log-normal", "digits")
        assert found >= {(n, k, c) for n in (4, 8) for k in kinds for c in (None, 1)}
        assert {"pairwise", "step", "trl"} < {row.form for row in table if row.shape == shape}
    formats = {row.settings.dtype for row in table if row.kind != "equal" and "0.5B" in row.shape}
    assert formats == {"bfloat16", "float32"}
    assert {shrink(row).form for row in table} == {row.form for row in table}


def done(
    row: Row, *, per_second: float, tokens: int, pairs: int, mfu: float | None = None
) -> Outcome:
    figures = {
        "tokens": [tokens],
        "pairs": [pairs],
        "tokens_per_s": per_second * tokens,
        "pairs_per_s": per_second * pairs,
        "flops_per_s": per_second,
        "mfu": mfu,
        "peak_bytes": 5e9,
        "padding": 0.0,
        "attention": "varlen",
    }
    return Outcome(row.name, "done", 1.0, asdict(row), figures)


def outcomes() -> list[Outcome]:
    shared = Row("shape", "shared", "equal", 4, 20, 5, 1, images=True)
    step = replace(shared, form="step", layers=2)
    ragged = replace(shared, kind="log-normal")
    return [
        done(shared, per_second=2.0, tokens=40, pairs=6, mfu=0.4),
        done(replace(shared, form="pairwise"), per_second=3.0, tokens=50, pairs=1, mfu=0.5),
        done(ragged, per_second=1.8, tokens=44, pairs=6, mfu=0.36),
        done(replace(ragged, settings=Settings("float32")), per_second=1.0, tokens=44, pairs=6),
        done(step, per_second=1.0, tokens=160, pairs=24),
        done(replace(step, form="trl", at_once=1), per_second=0.05, tokens=1200, pairs=24),
        done(replace(step, form="trl", at_once=4), per_second=0.08, tokens=1200, pairs=24),
        Outcome("a check", "failed", 1.0, {}, {"apart": 2.0}, "far | off"),
        Outcome("late", "skipped", 0.0, asdict(replace(shared, n=8)), reason="0 s are left"),
    ]


def test_rows_are_compared_with_those_that_they_are_to_be_compared_with() -> None:
    found = {goal.name.partition(":")[0]: goal for goal in compare(outcomes())}
    assert found["share of the card's peak"].value == 0.4
    assert found["share of the card's peak"].least == 0.5
    assert found["of equal lengths"].value == pytest.approx(0.9)
    assert found["times pairwise"].value == pytest.approx(12 / 3)
    assert found["times pairwise"].least == pytest.approx(50 / (40 / 6))
    assert found["times TRL"].value == pytest.approx(1.0 / 0.08), "TRL at its best"
    assert found["times TRL"].least == 10
    assert found["times TRL"].beside == pytest.approx(1200 / 160)
    assert found["times float32"].value == pytest.approx(1.8)
    assert len(compare(outcomes())) == 5


def test_results_are_whole_after_every_case(tmp_path: Path) -> None:
    about = {
        "card": "a card",
        "started": "today",
        "commit": "abc",
        "versions": {"torch": "2"},
        "budget_s": 600.0,
        "flops": "all of them",
        "peak_tflops": 989.0,
    }
    every = outcomes()
    for count in range(1, len(every) + 1):
        path = write(tmp_path / "results", "today-a-card", about, every[:count])
        content = json.loads(path.read_text())
        assert [one["name"] for one in content["cases"]] == [one.name for one in every[:count]]
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "today-a-card.json",
        "today-a-card.md",
    ]
    page = path.with_suffix(".md").read_text()
    assert "| 80 | 12.00 | 40.0 % | 5.0 GB | 0 % | varlen |" in page
    assert (
        "| share of the card's peak: shape, images, n=4, equal P=20 R=5, shared 1 at once |" in page
    )
    assert "0.40 (not met)" in page
    assert "| a check | failed: far / off | apart 2 |" in page
    assert "| late | skipped: 0 s are left |" in page

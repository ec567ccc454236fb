"""How two trainers are compared, with runs that a test makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.dpo import lengths, measure
from benchmarks.dpo.rows import Case, brief_cases, full_cases, small_cases

CASE = Case("two queries", ((10, (3, 2, 4)), (8, (2, 2))))


def fake(seen: list[Case], *, tokens: dict[str, int]) -> Any:
    """Runs whose steps take as long as the case says."""
    seconds = {
        ("trl", 1): 8.0,
        ("trl", 2): 6.0,
        ("trl", 6): 7.0,
        ("mmrlhf", 1): 1.2,
        ("mmrlhf", 2): 1.0,
    }

    def run(cases: Sequence[Case], threads: int) -> list[dict[str, Any]]:
        assert threads == 1
        seen.extend(cases)
        return [
            {
                "steps": [{"seconds": 2 * took, "cpu_seconds": took}] * max(case.steps, 1),
                "losses": [2.0, 1.0] if case.trainer == "trl" else [2.0, 1.01],
                "tokens": tokens[case.trainer],
                "places": 2 * tokens[case.trainer],
                "peak_bytes": 3 * 10**9,
            }
            for case in cases
            for took in [seconds[case.trainer, case.batch]]
        ]

    return run


TOKENS = {"trl": lengths.pairwise_tokens(CASE.lengths), "mmrlhf": 10 + 9 + 8 + 4}


def test_both_sides_at_their_best_are_compared_in_both_kinds_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Case] = []
    monkeypatch.setattr(measure, "measure", fake(seen, tokens=TOKENS))
    found = measure.compare(replace(CASE, layers=4), rounds=2, steps=3, threads=1)
    runs = [(case.trainer, case.batch, case.steps) for case in seen]
    assert runs == [
        *[("trl", batch, 0) for batch in (1, 1, 2, 6)],
        *[("mmrlhf", batch, 0) for batch in (1, 1, 2)],
        *[("trl", 2, 3), ("mmrlhf", 2, 3)] * 2,
    ], "the first one of each warms up"
    assert {case.layers for case in seen} == {4}
    assert (found["trl_batch"], found["mmrlhf_batch"]) == (2, 2)
    assert found["pairs_per_step"] == 4
    assert found["token_ratio"] == pytest.approx(TOKENS["trl"] / TOKENS["mmrlhf"])
    assert found["speedup"] == found["cpu_speedup"] == pytest.approx(6)
    assert found["cpu_of_token_ratio"] == pytest.approx(6 / found["token_ratio"])
    assert found["trl_padding"] == 0.5
    assert found["largest_relative_difference_of_losses"] == pytest.approx(0.01)


def test_no_more_queries_are_taken_at_once_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Case] = []
    monkeypatch.setattr(measure, "measure", fake(seen, tokens=TOKENS))
    tried = measure.try_batches(replace(CASE, lengths=CASE.lengths[:1]), "mmrlhf", threads=1)
    assert tried == {1: 1.2}
    assert [case.batch for case in seen] == [1, 1]


@pytest.mark.parametrize("side", ["trl", "mmrlhf"])
def test_other_tokens_than_those_of_the_case_end_it(
    monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    tokens = {**TOKENS, side: TOKENS[side] + 1}
    monkeypatch.setattr(measure, "measure", fake([], tokens=tokens))
    with pytest.raises(SystemExit, match=f"{side} forwarded {tokens[side]} tokens a step instead"):
        measure.compare(CASE, rounds=1, steps=1, threads=1)


def test_pairs_of_every_case_divide_by_every_batch_size_of_the_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits = ((40, (4, 5, 6, 7)),) * 20
    monkeypatch.setattr(lengths, "digits_lengths", lambda: digits)
    for case in (*brief_cases(), *small_cases(), *full_cases()):
        assert lengths.count_pairs(case.lengths) % 6 == 0
        assert all(prompt > 256 for prompt, _ in case.lengths if case.images), "beside its image"

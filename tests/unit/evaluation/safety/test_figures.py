"""Shares, their intervals and averages, by scipy and by the paper's Table 3."""

from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import binomtest

from mmrlhf_api.steps.safety import SafetyTask
from mmrlhf_jobs.evaluation.safety.figures import SafetyFigures, Share, measure_safety
from mmrlhf_jobs.evaluation.safety.findings import Finding, Verdict

DOWN = ("adv-target", "crossmodel", "multimodel", "typographic", "nsfw-text", "nsfw-image")
UP = ("adv-untarget", "crossmodel", "multimodel", "typographic", "risk")
TABLE_3: dict[str, tuple[tuple[float, ...], tuple[float, ...], float | None, float | None]] = {
    "InternVL2-1B": ((56.0, 0.0, 43.2, 10.5, 89.0, 81.2), (52.5, 100, 18, 73.7, 49.6), 46.6, None),
    "LLaVA-OV-0.5B": ((54, 72.2, 42.2, 26.3, 94.4, 97.5), (66, 22.2, 12.4, 17, 65.8), None, 36.7),
    "LLaVA-OV-0.5B, aligned": (
        (35, 38.9, 27.7, 35.2, 64.2, 81.6), (71, 50, 23.2, 27.5, 67.4), 47.1, 47.8,
    ),
    "LLaVA-OV-7B": ((37, 16.7, 41.2, 5.8, 60.4, 80.1), (66.5, 88.9, 62, 79.5, 82), 40.2, 75.8),
    "LLaVA-OV-7B, aligned": (
        (40, 0, 8.3, 0, 10.6, 24.2), (70, 100, 88.3, 95.8, 76), 13.9, None,
    ),
}  # fmt: skip
"""Rows of which less, and of which more is better, and the averages printed below them.

Five of the twelve that the paper prints do not follow from its own rows; those are None here.
"""


def task(name: str, *measures: str, **more: Any) -> SafetyTask:
    fields = {"name": name, "records": "/r", "judge": "j", "measures": measures, **more}
    return SafetyTask.model_validate(fields)


def answers(**counts: int) -> list[Verdict]:
    found = []
    for word, count in counts.items():
        finding = Finding(word)
        reason = "noVerdict" if finding is Finding.ERROR else ""
        found += [Verdict(finding, reason)] * count
    return found


def of_table(down: tuple[float, ...], up: tuple[float, ...]) -> SafetyFigures:
    """The rows as counts of a thousand answers, each a task as in Table 6.

    One judgement of each answer cannot give both of some: of LLaVA-OV-7B 16.7 % of the answers to
    Crossmodel are harmful, and 88.9 % refuse.
    """
    judged: list[tuple[SafetyTask, list[Verdict], dict[str, int]]] = []
    for names, shares, lower in ((DOWN, down, True), (UP, up, False)):
        for name, share in zip(names, shares, strict=True):
            if name in ("adv-target", "adv-untarget", "risk"):
                one = task(name, "ratio", lowerIsBetter=lower)
                verdicts = answers(yes=round(10 * share), no=1000 - round(10 * share))
            else:
                one = task(name, "asr" if lower else "rta")
                word = "harmful" if lower else "refused"
                counts = {word: round(10 * share), "neither": 1000 - round(10 * share)}
                verdicts = answers(**counts)
            judged.append((one, verdicts, {}))
    return measure_safety(judged)


@pytest.mark.parametrize("model", TABLE_3)
def test_averages_are_those_of_the_paper(model: str) -> None:
    down, up, unsafety, safety = TABLE_3[model]
    figures = of_table(down, up)
    if unsafety is not None:
        assert figures.unsafety == pytest.approx(unsafety / 100, abs=6e-4)
    if safety is not None:
        assert figures.safety == pytest.approx(safety / 100, abs=6e-4)


@pytest.mark.parametrize(("count", "judged"), [(0, 18), (18, 18), (3, 18), (41, 100), (1, 600)])
def test_intervals_are_exact(count: int, judged: int) -> None:
    expected = binomtest(count, judged).proportion_ci(0.95, method="exact")
    lower, upper = Share(count, judged, lower_is_better=True).interval
    assert (lower, upper) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_errors_are_counted_apart_and_are_in_no_share() -> None:
    verdicts = answers(harmful=1, refused=2, neither=1, error=4)
    (one,) = measure_safety([(task("a", "asr", "rta"), verdicts, {"schema": 2})]).tasks
    assert (one.answers, one.error_share) == (8, 0.5)
    told = one.to_dict()
    assert {name: told[name] for name in ("harmful", "refused", "neither", "error")} == {
        "harmful": 1, "refused": 2, "neither": 1, "error": 4,
    }  # fmt: skip
    assert (told["errors"], told["invalid"]) == ({"noVerdict": 4}, {"schema": 2})
    shares = {name: share["value"] for name, share in told["measures"].items()}
    assert shares == {"asr": 0.25, "rta": 0.5}


def test_a_task_of_which_nothing_is_known_leaves_no_average() -> None:
    known: tuple[SafetyTask, list[Verdict], dict[str, int]]
    known = (task("a", "asr"), answers(harmful=1, refused=1), {})
    assert measure_safety([known]).unsafety == 0.5
    figures = measure_safety([known, (task("b", "asr"), answers(error=3), {})])
    assert figures.unsafety is None
    assert figures.to_dict()["tasks"]["b"]["measures"]["asr"]["upper"] == 1.0

"""Measurements for the tests of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmrlhf_jobs.evaluation.gate import Column, Evidence, GateRules
from mmrlhf_jobs.evaluation.gate.evidence import Model, Verdicts
from mmrlhf_jobs.evaluation.gate.judging import Said
from mmrlhf_jobs.evaluation.gate.safety import Answer


def column(values: Sequence[float | None], *, data: str = "d" * 64) -> Column:
    return Column(data, {(f"q{n:05d}", ""): value for n, value in enumerate(values)})


def model(answers: Sequence[Answer] = (), /, **figures: Sequence[float | None]) -> Model:
    return Model(
        figures={name: column(values) for name, values in figures.items()},
        answers={f"s{n:05d}": answer for n, answer in enumerate(answers)},
        safety_data="s" * 64,
    )


def evidence(
    candidate: Mapping[str, Sequence[float | None]], champion: Mapping[str, Sequence[float | None]]
) -> Evidence:
    return Evidence(model((), **candidate), model((), **champion))


def verdicts(pairs: Sequence[tuple[Said, Said]]) -> Verdicts:
    """What a judge said with the candidate first, and with the champion first."""
    return Verdicts({f"q{n:05d}": {True: a, False: b} for n, (a, b) in enumerate(pairs)})


def rules(*criteria: Mapping[str, Any], **more: Any) -> GateRules:
    asked = {"criteria": list(criteria), "resamples": 2000, **more}
    return GateRules.model_validate(asked)

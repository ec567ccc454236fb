"""References keep types where they stand alone, and `$${` is a plain `${`."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api.pipelines.references import Reference, references, resolve

VALUES = {"epochs": 3, "rate": 1e-6, "deep": True, "week": "48"}


def follow(one: Reference) -> Any:
    return VALUES[one.parameter] if one.parameter else f"s3://{one.step}/{one.output}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("${parameters.epochs}", 3),
        ("${parameters.deep}", True),
        ("x${parameters.deep}", "xtrue"),
        ("s3://d/${parameters.week}/${parameters.epochs}", "s3://d/48/3"),
        ("${steps.judge.model}", "s3://judge/model"),
        ("$${steps.judge.model}", "${steps.judge.model}"),
        ("a$${b} ${parameters.week}", "a${b} 48"),
        ("$5 and {x} and $", "$5 and {x} and $"),
        (["${parameters.rate}", {"a": "${parameters.rate}"}], [1e-6, {"a": 1e-6}]),
        (7, 7),
        (None, None),
    ],
)
def test_references_are_followed(given: Any, expected: Any) -> None:
    found = resolve(given, follow)
    assert found == expected
    assert type(found) is type(expected)


def test_each_has_its_place_and_keys_have_none() -> None:
    value = {"a": ["${parameters.x}", "b ${steps.s-1.model}"], "${parameters.y}": 1}
    assert [(one.path, one.whole, one.step, one.parameter) for one in references(value)] == [
        (("a", 0), True, None, "x"),
        (("a", 1), False, "s-1", None),
    ]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("${", "has no end"),
        ("${steps.a.b", "has no end"),
        ("${}", "is no reference"),
        ("${steps.a}", "is no reference"),
        ("${steps.a.b.c}", "is no reference"),
        ("${ parameters.a }", "is no reference"),
        ("${env.HOME}", "is no reference"),
        ("x${steps.a.b}", "must stand alone"),
        ("${${steps.a.b}", "has no end"),
    ],
)
def test_what_is_malformed_is_said(text: str, flaw: str) -> None:
    assert any(flaw in (one.flaw or "") for one in references(text))

"""What ``-o jsonpath=`` and ``--sort-by`` understand, with what kubectl prints for the same."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhfctl.text.jsonpath import JsonPathError, parse_path, parse_template

LIST: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"x.y/z": "1"}, "annotations": None},
            "status": {"phase": "Running", "attempt": 3, "progress": {"margin": 0.25}},
        },
        {
            "metadata": {"name": "b"},
            "status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "True"}]},
        },
        {"metadata": {"name": "c"}, "status": {"phase": "Running", "attempt": 10}},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].metadata.name}", "a b c"),
        ("{$.items[*]['metadata'].name}", "a b c"),
        ("items[0].metadata.name", "a"),
        ("{.kind}: {.items[0].status.phase}!", "List: Running!"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}', None),
        ('{.items[?(@.status.phase=="Failed")].metadata.name}', "b"),
        ("{.items[?(@.status.phase!='Failed')].metadata.name}", "a c"),
        ("{.items[?(@.status.attempt>3)].metadata.name}", "c"),
        ("{.items[?(@.status.attempt<=3)].metadata.name}", "a"),
        ("{.items[?(@.status.conditions)].metadata.name}", "b"),
        ('{.items[*].status.conditions[?(@.type=="Ready")].status}', "True"),
        ("{..name}", "a b c"),
        ("{..['phase']}", "Running Failed Running"),
        ("{.items[0].metadata.labels.x\\.y/z}", "1"),
        ("{.items[0].metadata.labels['x.y/z']}", "1"),
        ("{.items[-1].metadata.name}", "c"),
        ("{.items[-2:].metadata.name}", "b c"),
        ("{.items[0:3:2].metadata.name}", "a c"),
        ("{.items[0,2].metadata.name}", "a c"),
        ("{.items[0].status['phase','attempt']}", "Running 3"),
        ("{.items[7].metadata.name}", ""),
        ("{.items[*].metadata.nothing.at.all}", ""),
        ("{.items[0].metadata.annotations}", ""),
        ("{.items[0].status.progress}", '{"margin": 0.25}'),
        ("{.items[0].status.progress.*}", "0.25"),
        ('{"{braces}"}', "{braces}"),
    ],
)
def test_templates_are_filled_in(template: str, text: str | None) -> None:
    wanted = "a\tRunning\nb\tFailed\nc\tRunning\n" if text is None else text
    assert parse_template(template).text(LIST) == wanted


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{.a", "a brace is not closed"),
        ('{"a}', "a brace is not closed"),
        ("{range .a}x", "without an {end}"),
        ("{end}", "{end} without a {range}"),
        ("{.items[}", "a bracket is not closed"),
        ("{.items[name]}", "must be a number, a range"),
        ("{.items[?(name)]}", "of the form @.name==value"),
        ("{.items[?(@.a==b)]}", "write a text in quotes"),
        ("{.a..}", "a name is missing"),
        ("{.a b}", "expected . or ["),
    ],
)
def test_what_is_no_template_is_told(template: str, message: str) -> None:
    with pytest.raises(JsonPathError) as told:
        parse_template(template)
    assert message in str(told.value)


def test_a_path_may_stand_in_braces_or_not() -> None:
    for text in (".items[1].metadata.name", "{.items[1].metadata.name}", "items[1].metadata.name"):
        assert parse_path(text).values(LIST) == ["b"]

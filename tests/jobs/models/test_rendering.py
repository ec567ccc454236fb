"""Chat templates that ask for too much."""

from __future__ import annotations

import threading
import time

import pytest

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models import rendering
from mmrlhf_jobs.models.rendering import render_within
from tests.jobs.models.test_chat import make
from tests.jobs.models.tiny import CHATML

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "chat-template"]


@pytest.mark.parametrize(
    "template",
    [
        LOOP + CHATML,
        # Only for a conversation that has an answer.
        "{% if messages|length > 1 %}" + LOOP + "{% endif %}" + CHATML,
        # No loop at all.
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        "{{ f(99) }}" + CHATML,
        "{% set n = namespace(i=0) %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% set n.i = n.i + 1 %}{% endfor %}{% endfor %}" + CHATML,
    ],
    ids=["loops", "answer", "recursion", "counter"],
)
def test_a_template_that_loops_is_given_up(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "LIMIT_SECONDS", 1.0)
    with pytest.raises(ModelError, match="did not end within 1 s"):
        make(template)
    # What was given up ends as well, and takes no processor for ever.
    while threads():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{% for i in range(10000000000) %}{% endfor %}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ 10 ** 10 ** 10 }}", "line 1 .* power"),
        ("\n{% set a = 'x' * 9 **9**9 %}", "line 2 .* power"),
    ],
)
def test_a_template_that_asks_for_too_much_is_refused(template: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        make(template + CHATML)


def test_two_stars_that_are_no_power_are_fine() -> None:
    text = "{% macro f() %}{% endmacro %}{{ f(**{}) }}{{ '2 ** 3' }}{# 2 ** 3 #} 2 ** 3 "
    assert "2 ** 3 2 ** 3 " in make(text + CHATML).prompt_text("what?", [])


def test_errors_of_a_rendering_are_its_own() -> None:
    def fail() -> str:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        render_within(fail)
    assert render_within(lambda: "") == ""

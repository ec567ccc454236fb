"""Templates upon the one base page; whatever is put into them is escaped.

A page is one file that opens anywhere: no script, no font, no network. Texts come from data sets,
models and job files of strangers. Jinja's autoescape makes them text and nothing else, and what
steers, turns a line around or hides is made visible (`mmrlhf_api.plain_text`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmrlhf_api.plain_text import make_safe

__all__ = ["MAX_BYTES", "drawn", "render"]

MAX_BYTES: Final = 4 * 2**20
"""No page is larger: what may be cut is cut before."""


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template takes
    """Render a template; equal values give equal bytes."""
    return _environment().get_template(template).render(**values)


def drawn(svg: str) -> Markup:
    """Mark a drawing of `mmrlhf_jobs.pages.svg`, which has escaped its texts, as what it is."""
    return Markup(svg)  # noqa: S704 - its parts are escaped one by one


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )


def _show(value: object) -> object:
    """A value as it is shown: line breaks stay, all else that is no plain text becomes visible."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(make_safe, value.split("\n")))
    return value

"""Why a job is where it is, in words for a terminal and as data for programs; pure functions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from mmrlhf.client.views import JobView
from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.diagnosis.answers import Answer, Cause, Certainty, Evidence
from mmrlhfctl.durations import format_age
from mmrlhfctl.text.table import Style, paint

__all__ = ["answer_data", "answer_lines"]

WIDTH: Final = 80
_STYLES: Final = {
    Certainty.CERTAIN: Style.BAD,
    Certainty.LIKELY: Style.IDLE,
    Certainty.POSSIBLE: Style.NONE,
}
_SHOWN: Final = 8
"""Pieces of evidence of a cause that are shown; all are in the data."""


def answer_lines(
    job: JobView, answer: Answer, now: datetime, *, colours: bool = False
) -> list[str]:
    """Return an answer as lines of at most 80 columns.

    Args:
        job: The job.
        answer: What is said of it.
        now: The time.
        colours: Whether to use colours.
    """
    lines = _wrapped(f"{job.title}: {answer.headline}", "", "  ")
    for number, cause in enumerate(answer.causes, start=1):
        lines += ["", *_cause(number, cause, now, colours=colours)]
    if answer.facts:
        lines += ["", "Also:"]
        for fact in answer.facts:
            lines += _wrapped(fact, "  ", "    ")
    if answer.unread:
        lines += ["", "Could not look at:"]
        for one in answer.unread:
            right = f" (needs: {one.right})" if one.right else ""
            lines += _wrapped(f"{one.what}: {one.why}{right}", "  ", "    ")
    return lines


def answer_data(job: JobView, answer: Answer) -> dict[str, Any]:
    """Return an answer as data, for ``-o json`` and ``-o yaml``."""
    return {
        "job": {
            "kind": job.kind.name,
            "namespace": job.namespace,
            "name": job.name,
            "phase": job.phase,
            "reason": job.reason,
            "message": job.message,
        },
        "answer": answer.headline,
        "causes": [
            {
                "topic": cause.topic.value,
                "certainty": cause.certainty.name.lower(),
                "text": cause.text,
                "fix": cause.fix,
                "see": cause.link,
                "evidence": [
                    {
                        "object": one.thing,
                        "text": one.text,
                        "lastSeen": None if one.seen is None else one.seen.isoformat(),
                        "count": one.count,
                    }
                    for one in cause.evidence
                ],
            }
            for cause in answer.causes
        ],
        "facts": list(answer.facts),
        "unread": [{"what": one.what, "why": one.why, "needs": one.right} for one in answer.unread],
    }


def _cause(number: int, cause: Cause, now: datetime, *, colours: bool) -> Iterator[str]:
    word = cause.certainty.name.lower()
    first, *more = _wrapped(f"{number}. {word}: {cause.text}", "", "   ")
    yield first.replace(word, paint(word, _STYLES[cause.certainty], colours=colours), 1)
    yield from more
    yield from _field("do", cause.fix)
    yield from _field("see", cause.link)
    for one in cause.evidence[:_SHOWN]:
        yield from _field("seen", _evidence(one, now))
    if len(cause.evidence) > _SHOWN:
        yield from _field("seen", f"and {len(cause.evidence) - _SHOWN} more; -o json has all")


def _evidence(one: Evidence, now: datetime) -> str:
    when = [f"{format_age(one.seen, now)} ago"] if one.seen is not None else []
    when += [f"{one.count} times"] if one.count > 1 else []
    return f"{one.thing}: {one.text}" + (f" ({', '.join(when)})" if when else "")


def _field(name: str, text: str) -> list[str]:
    return _wrapped(text, f"   {name + ':':<6}", " " * 9)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    """What others wrote is made safe; words that are longer than a line are cut over lines."""
    return textwrap.wrap(
        make_safe(" ".join(text.split(" "))),
        width=WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    ) or [first.rstrip()]

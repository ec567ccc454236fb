"""Fields and questions of a data set, in the form of ``rg.Settings.serialize``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from mmrlhf_jobs.annotation.rubric import DECISIONS, FLAGS, RUBRIC, TIES
from mmrlhf_jobs.annotation.tasks import LETTERS

__all__ = ["MOST_RESPONSES", "make_settings"]

T = TypeVar("T", bound=str)

MOST_RESPONSES: Final = 10
"""A rating in Argilla goes to 10."""

_MEDIA: Final = (
    '{{#each record.fields.media.urls}}<img src="{{this}}" alt="" style="max-width: 100%">{{/each}}'
)


def make_settings(num_responses: int) -> dict[str, Any]:
    """Settings for records of so many responses."""
    letters = LETTERS[:num_responses]
    fields = [
        _field("media", "Media", {"type": "custom", "template": _MEDIA, "advanced_mode": False}),
        _text_field("question", "Question"),
        _text_field("reference", "Reference answer"),
        *(_text_field(f"response_{one.lower()}", f"Response {one}") for one in letters),
    ]
    questions = []
    for letter in letters:
        slot = letter.lower()
        for criterion in RUBRIC:
            scale = "; ".join(f"{place} {name}" for place, name in enumerate(criterion.scale, 1))
            questions.append(
                _rating(
                    f"{slot}_{criterion.name}",
                    f"{letter}: {criterion.title}",
                    criterion.question + f" {scale}",
                    5,
                )
            )
        questions.append(_text(f"{slot}_reason", f"{letter}: why these scores?", required=True))
    for letter in letters:
        title = f"{letter}: rank among the responses"
        hint = "1 is best; responses with the same rank are tied"
        questions.append(_rating(f"{letter.lower()}_rank", title, hint, num_responses))
    questions += [
        _text("basis", "Why are they ranked so?", required=True),
        _labels("tie", "Ties", TIES, required=True),
        _text("constructed_positive", "A correct answer, if all tied ones are poor"),
        _text("constructed_negative", "A response with errors put in, if all tied ones are good"),
        _labels(
            "derived_from",
            "Which response did you put errors in?",
            dict(zip(letters, letters, strict=True)),
        ),
        _labels("question_flag", "The question", FLAGS),
        _labels("decision", "Reviewers only", DECISIONS),
    ]
    return {
        "guidelines": _guidelines(),
        "fields": fields,
        "questions": questions,
        "vectors": [],
        "metadata": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def _guidelines() -> str:
    lines = []
    for criterion in RUBRIC:
        lines += [f"## {criterion.title}", criterion.question, ""]
        lines += [f"{place}. {name}" for place, name in enumerate(criterion.scale, 1)]
        lines.append("")
    return "\n".join(lines)


def _field(name: str, title: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": title, "required": True, "settings": dict(settings)}


def _text_field(name: str, title: str) -> dict[str, Any]:
    return _field(name, title, {"type": "text", "use_markdown": False})


def _question(
    name: str, title: str, description: str | None, settings: Mapping[str, Any], *, required: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": description,
        "required": required,
        "settings": dict(settings),
    }


def _rating(name: str, title: str, description: str, most: int) -> dict[str, Any]:
    options: Sequence[Mapping[str, int]] = [{"value": value} for value in range(1, most + 1)]
    return _question(
        name, title, description, {"type": "rating", "options": options}, required=True
    )


def _text(name: str, title: str, *, required: bool = False) -> dict[str, Any]:
    return _question(name, title, None, {"type": "text", "use_markdown": False}, required=required)


def _labels(
    name: str, title: str, options: Mapping[T, str], *, required: bool = False
) -> dict[str, Any]:
    settings = {
        "type": "label_selection",
        "options": [{"value": value, "text": text} for value, text in options.items()],
        "visible_options": None if len(options) < 3 else len(options),
    }
    return _question(name, title, None, settings, required=required)

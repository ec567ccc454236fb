"""The labelling page, as Label Studio's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar
from xml.etree import ElementTree as ET

from mmrlhf_jobs.annotation.rubric import DECISIONS, FLAGS, RUBRIC, TIES
from mmrlhf_jobs.annotation.tasks import LETTERS

__all__ = ["BUCKET", "make_page"]

T = TypeVar("T", bound=str)

BUCKET: Final = "rank"
"""What the names of the buckets start with; a number follows."""

_INDEX: Final = "{{idx}}"

_STYLE: Final = """
.mm-page { display: flex; gap: 24px; align-items: flex-start; flex-wrap: wrap; }
.mm-query { flex: 1 1 320px; min-width: 280px; max-width: 560px; position: sticky; top: 0; }
.mm-responses { flex: 2 1 480px; min-width: 320px; }
.mm-response { border: 1px solid rgba(128, 128, 128, .4); border-radius: 8px;
  padding: 4px 16px 12px; margin-bottom: 16px; }
.mm-all { border-top: 2px solid rgba(128, 128, 128, .4); margin-top: 8px; padding-top: 8px; }
.htx-ranker-item { white-space: pre-wrap; }
"""


def make_page(most_responses: int) -> str:
    """The configuration of a project whose tasks have at most so many responses."""
    page = ET.Element("View")
    ET.SubElement(page, "Style").text = _STYLE
    columns = ET.SubElement(page, "View", className="mm-page")
    _add_query(ET.SubElement(columns, "View", className="mm-query"))
    _add_responses(ET.SubElement(columns, "View", className="mm-responses"))
    _add_ranking(ET.SubElement(page, "View", className="mm-all"), most_responses)
    ET.indent(page)
    return ET.tostring(page, encoding="unicode") + "\n"


def _add_query(parent: ET.Element) -> None:
    ET.SubElement(parent, "Image", name="media", valueList="$media", zoomControl="true")
    _header(parent, "Question")
    ET.SubElement(parent, "Text", name="question", value="$question")
    _header(parent, "Reference answer")
    ET.SubElement(parent, "Text", name="reference", value="$reference")


def _add_responses(parent: ET.Element) -> None:
    repeated = ET.SubElement(parent, "Repeater", on="$responses", indexFlag=_INDEX)
    box = ET.SubElement(repeated, "View", className="mm-response")
    _header(box, f"Response $responses[{_INDEX}].slot")
    text = f"response_{_INDEX}"
    ET.SubElement(box, "Text", name=text, value=f"$responses[{_INDEX}].text")
    for criterion in RUBRIC:
        _header(box, criterion.title, size="5")
        labels = {
            str(score): f"{score} {words}" for score, words in enumerate(criterion.scale, start=1)
        }
        _choices(box, f"{criterion.name}_{_INDEX}", text, labels, required=criterion.title)
    _text(box, f"reason_{_INDEX}", text, "Why these scores?", required="Reason")


def _add_ranking(parent: ET.Element, most_responses: int) -> None:
    _header(parent, "Ranking: drag every response to its rank; several on one rank are tied")
    ET.SubElement(parent, "List", name="slots", value="$slots", title="Not ranked yet")
    ranker = ET.SubElement(parent, "Ranker", name="ranking", toName="slots")
    for rank in range(1, most_responses + 1):
        title = "Rank 1 (best)" if rank == 1 else f"Rank {rank}"
        ET.SubElement(ranker, "Bucket", name=f"{BUCKET}{rank}", title=title)
    _text(parent, "basis", "slots", "Why are they ranked so?", required="Basis of the ranking")
    _header(parent, "Ties", size="5")
    _choices(parent, "tie", "slots", TIES, required="Ties")
    _text(parent, "constructed_positive", "slots", "A correct answer, if all tied ones are poor")
    _text(
        parent,
        "constructed_negative",
        "slots",
        "One of the responses with errors put in, if all tied ones are good",
    )
    _header(parent, "Which response did you put errors in?", size="5")
    letters = {letter: letter for letter in LETTERS[:most_responses]}
    _choices(parent, "derived_from", "slots", letters)
    _header(parent, "The question", size="5")
    _choices(parent, "question_flag", "slots", FLAGS)
    _header(parent, "Reviewers only", size="5")
    _choices(parent, "decision", "slots", DECISIONS)


def _header(parent: ET.Element, value: str, *, size: str = "4") -> None:
    ET.SubElement(parent, "Header", value=value, size=size)


def _choices(
    parent: ET.Element,
    name: str,
    to_name: str,
    options: Mapping[T, str],
    *,
    required: str | None = None,
) -> None:
    attributes = {"name": name, "toName": to_name, "choice": "single-radio", "showInline": "true"}
    choices = ET.SubElement(parent, "Choices", attributes | _needed(required))
    for alias, value in options.items():
        ET.SubElement(choices, "Choice", value=value, alias=alias)


def _text(
    parent: ET.Element, name: str, to_name: str, placeholder: str, *, required: str | None = None
) -> None:
    attributes = {
        "name": name,
        "toName": to_name,
        "placeholder": placeholder,
        "rows": "2",
        "maxSubmissions": "1",
        "editable": "true",
        "showSubmitButton": "false",
    }
    ET.SubElement(parent, "TextArea", attributes | _needed(required))


def _needed(what: str | None) -> dict[str, str]:
    return {"required": "true", "requiredMessage": f"{what} is missing"} if what else {}

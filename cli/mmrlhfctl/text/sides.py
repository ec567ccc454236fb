"""What differs between two runs or jobs: what was asked, read and made; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from mmrlhf_api import job_dict
from mmrlhf_api.kinds import KINDS
from mmrlhf_api.origins import read_lineage
from mmrlhfctl.text.table import Table

__all__ = ["SECTIONS", "Side", "difference_lines", "differences", "side_of"]

SECTIONS: Final = {"fields": "FIELD", "inputs": "INPUT", "figures": "FIGURE"}
"""What is compared, and the title of its column."""
_DIGITS: Final = 12
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """One of what is compared.

    Attributes:
        name: What to call it.
        kind: Its kind.
        fields: What was asked for, by path; image and version of the code too.
        inputs: What was read, by field: digest and URI, or the digest that a step of a run has.
        figures: What came out, by name.
    """

    name: str
    kind: str
    fields: Mapping[str, str]
    inputs: Mapping[str, str]
    figures: Mapping[str, str]


def side_of(name: str, body: Body, record: Body | None = None) -> Side:
    """Return a job, a run of a pipeline, or a pipeline, as a side.

    Args:
        name: What to call it.
        body: The object, or the job of a record; one that is not valid counts as it is written.
        record: The record of its run, if it has left one.
    """
    status = body.get("status") or {}
    kind = str(body.get("kind") or "")
    fields = dict(_flat(_whole(kind, body)))
    inputs = {
        f"steps[{one['name']}]": str(one["key"])[:_DIGITS]
        for one in status.get("steps") or ()
        if one.get("key")
    }
    figures = {f"steps[{one['name']}]": _end(one) for one in status.get("steps") or ()}
    metrics = status.get("metrics") or {}
    if record is not None:
        environment = record.get("environment") or {}
        packages = environment.get("packages") or {}
        fields |= {
            "(image)": str(environment.get("image") or "-"),
            "(version)": str(packages.get("mmrlhf") or "-"),
        }
        metrics = record.get("metrics") or metrics
        for origin in read_lineage(record) or ():
            inputs[origin.field] = f"{(origin.digest or 'no digest')[:_DIGITS]} {origin.uri}"
    figures |= {key: f"{value:.6g}" for key, value in metrics.items() if _is_number(value)}
    return Side(name, kind, fields, inputs, figures)


def differences(one: Side, other: Side) -> dict[str, dict[str, tuple[str | None, str | None]]]:
    """Return what differs, by section and name; None where a side has nothing of that name."""
    found = {}
    for section in SECTIONS:
        mine: Mapping[str, str] = getattr(one, section)
        theirs: Mapping[str, str] = getattr(other, section)
        found[section] = {
            name: (mine.get(name), theirs.get(name))
            for name in dict.fromkeys((*mine, *theirs))
            if mine.get(name) != theirs.get(name)
        }
    return found


def difference_lines(one: Side, other: Side) -> list[str]:
    """Return the same as tables, one a section that has any."""
    lines: list[str] = []
    for section, rows in differences(one, other).items():
        if rows:
            table = Table([SECTIONS[section], one.name, other.name])
            cells = [(name, mine or "-", theirs or "-") for name, (mine, theirs) in rows.items()]
            lines += [*([""] if lines else []), *table.lines(cells)]
    return lines or ["nothing differs"]


def _whole(kind: str, body: Body) -> Body:
    """The spec with its defaults, so that one that says them is the same as one that does not."""
    spec: Body = body.get("spec") or {}
    if kind not in KINDS:
        return spec
    plain = {key: body[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in body}
    try:
        job = KINDS[kind].model.model_validate(plain, by_alias=True, by_name=False)
    except ValidationError:
        return spec
    whole: Body = job_dict(job)["spec"]
    return whole


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Values by path; entries of lists go by their names, if they have any."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            key = item.get("name", number) if isinstance(item, Mapping) else number
            yield from _flat(item, f"{path}[{key}]")
    elif value is not None:
        yield path, str(value)


def _end(step: Body) -> str:
    cached = step.get("cachedFrom")
    return f"{step.get('phase')} from {cached['run']}" if cached else str(step.get("phase"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

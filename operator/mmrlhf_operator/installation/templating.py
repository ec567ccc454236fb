"""Objects with places for values, as the text of a template of Helm.

An object is data, as everywhere here; where a value of the user goes, one of the classes below
stands. Expressions name what they take from the root, ``$``, as they may come to stand in a loop.
What looks like a template in the data, such as the labels in an alert, is kept as it is.
"""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_operator.installation.documents import to_yaml

__all__ = ["Items", "Manifest", "Tree", "Value", "When", "document", "either", "replaced"]

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Value:
    """A scalar.

    Attributes:
        expression: What it is.
        optional: Whether the whole field is left out where the expression is empty; where it
            is not, it is written as JSON.
    """

    expression: str
    optional: bool = False


@dataclass(frozen=True)
class Tree:
    """A list or mapping, which is left out with its field where it is empty."""

    expression: str


@dataclass(frozen=True)
class Items:
    """Further items of a list."""

    expression: str


@dataclass(frozen=True)
class When:
    """Items of a list that are there under a condition."""

    condition: str
    items: tuple[Any, ...]


_MARK: Final = re.compile(r"^(?P<indent> *)(?P<before>.*?)'?@(?P<number>\d+)@'?$")
_BRACES: Final = re.compile(r"\{\{|\}\}")


def document(body: Manifest, *, condition: str | None = None, loop: str | None = None) -> str:
    """An object as part of a template.

    Args:
        body: The object.
        condition: Under which it is there; None for always.
        loop: A list; there is one such object for each of its items, which is called ``.``.
    """
    text = "---\n" + _text(body)
    if loop is not None:
        text = f"{{{{- range {loop} }}}}\n{text}{{{{- end }}}}\n"
    if condition is not None:
        text = f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"
    return text


def either(first: Any, second: Any, conditions: tuple[str, str]) -> Any:  # noqa: ANN401 - YAML
    """One object in place of two that differ in items of lists.

    Args:
        first: One of them.
        second: The other one.
        conditions: Under which there is the one, and the other one.

    Raises:
        ValueError: They differ in something else.
    """
    if first == second:
        return first
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return {key: either(first[key], second[key], conditions) for key in first}
    if isinstance(first, list) and isinstance(second, list):
        if len(first) == len(second) == 1:
            return [either(first[0], second[0], conditions)]
        return _either_items(first, second, conditions)
    raise ValueError(f"{first!r} and {second!r} differ in more than items of lists")


def _either_items(
    first: Sequence[Any], second: Sequence[Any], conditions: tuple[str, str]
) -> list[Any]:
    old, new = ([json.dumps(item, sort_keys=True) for item in items] for items in (first, second))
    found: list[Any] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            found += first[a:b]
            continue
        sides = zip(conditions, (first[a:b], second[c:d]), strict=True)
        found += [When(condition, tuple(items)) for condition, items in sides if items]
    return found


def replaced(body: Any, old: Any, new: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    """The object with something else wherever it holds what equals `old`."""
    if type(body) is type(old) and body == old:
        return new
    if isinstance(body, dict):
        return {key: replaced(value, old, new) for key, value in body.items()}
    if isinstance(body, list):
        return [replaced(item, old, new) for item in body]
    if isinstance(body, When):
        return When(body.condition, tuple(replaced(item, old, new) for item in body.items))
    return body


def _text(body: Any) -> str:  # noqa: ANN401 - whatever YAML holds
    places: list[Value | Tree | Items | When] = []
    text = to_yaml(_marked(body, places))
    # '{{ "{{" }}' is how a template writes two braces.
    text = _BRACES.sub(lambda found: f'{{{{ "{found[0]}" }}}}', text)
    return "".join(_line(line, places) for line in text.splitlines())


def _marked(body: Any, places: list[Value | Tree | Items | When]) -> Any:  # noqa: ANN401
    if isinstance(body, dict):
        return {key: _marked(value, places) for key, value in body.items()}
    if isinstance(body, list):
        return [_marked(item, places) for item in body]
    if isinstance(body, Value | Tree | Items | When):
        places.append(body)
        return f"@{len(places) - 1}@"
    return body


def _line(line: str, places: Sequence[Value | Tree | Items | When]) -> str:
    found = _MARK.match(line)
    if found is None:
        return f"{line}\n"
    indent, before = found["indent"], found["before"]
    place = places[int(found["number"])]
    match place:
        case Value(expression, optional=False):
            return f"{indent}{before}{{{{ {expression} }}}}\n"
        case Value(expression):
            lines = [f"{{{{- with {expression} }}}}", f"{before}{{{{ toJson . }}}}", "{{- end }}"]
        case Tree(expression):
            inner = f"  {{{{- toYaml . | nindent {len(indent) + 2} }}}}"
            lines = [f"{{{{- with {expression} }}}}", before.rstrip(), inner, "{{- end }}"]
        case Items(expression):
            inner = f"{{{{- toYaml . | nindent {len(indent)} }}}}"
            lines = [f"{{{{- with {expression} }}}}", inner, "{{- end }}"]
        case When(condition, items):
            return (
                f"{indent}{{{{- if {condition} }}}}\n"
                + textwrap.indent(_text(list(items)), indent)
                + f"{indent}{{{{- end }}}}\n"
            )
    return "".join(f"{indent}{one}\n" for one in lines)

"""YAML and JSON text as plain data, with the line of every field.

PyYAML follows YAML 1.1, where ``1e-6`` is a string, ``no`` is false, ``012`` is ten and a date is a
date. Here scalars follow YAML 1.2's core schema, which is what people and JSON mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mmrlhf_api.errors import Problem

__all__ = [
    "MAX_BYTES",
    "Document",
    "FieldPath",
    "ParseError",
    "format_path",
    "parse_documents",
    "parse_value",
]

FieldPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""

MAX_BYTES = 1_500_000
"""Largest text that is read; the API server takes no larger object either."""
_MAX_NODES = 200_000
"""Most nodes after aliases are followed: a small text can unfold to billions."""


class ParseError(Exception):
    """The text is not well-formed; carries the problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        data: Its content as plain data.
        lines: 1-based line of every field and list entry.
    """

    data: Any
    lines: Mapping[FieldPath, int]


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        (
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
    ("merge", r"^(?:<<)$", ["<"]),
):
    _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def _construct_int(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if text.startswith("0o"):
        return int(text, 0)
    if text.startswith("0x"):
        return int(text, 0)
    return int(text)


_CoreLoader.add_constructor(_TAG + "int", _construct_int)


def format_path(path: FieldPath) -> str:
    """Return a path as people write it, such as ``spec.sources[0].name``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def parse_documents(text: str) -> list[Document]:
    """Parse YAML (or JSON, which is YAML) into its documents; empty ones are left out.

    Raises:
        ParseError: The text is not well-formed, has a key twice, or is too large.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ParseError(Problem(field="", message=f"is larger than {MAX_BYTES} bytes"))
    if not text.lstrip().startswith("{"):
        return list(_documents(text))
    # PyYAML reads JSON but for tabs between tokens and for characters beyond 16 bits in escapes.
    documents = list(_documents(text.replace("\t", " ")))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return documents
    return [Document(data, documents[0].lines)]


def _documents(text: str) -> Iterator[Document]:
    loader: _CoreLoader | None = None
    try:
        loader = _CoreLoader(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # check_node said so
            lines: dict[FieldPath, int] = {}
            problems: list[Problem] = []
            _survey(node, (), lines, problems, _Budget(_MAX_NODES))
            if problems:
                raise ParseError(*problems)
            data = loader.construct_document(node)
            if data is not None:
                yield Document(data, lines)
    except yaml.YAMLError as error:
        raise ParseError(_from_yaml(error)) from error
    except RecursionError as error:
        raise ParseError(Problem(field="", message="is nested too deeply")) from error
    except ValueError as error:  # a constructor refused a scalar, such as an int of 5000 digits
        raise ParseError(Problem(field="", message=str(error))) from error
    finally:
        if loader is not None:
            loader.dispose()


@dataclass
class _Budget:
    left: int
    widths: dict[int, int] = field(default_factory=dict)
    """Entries of mappings, by the identity of their nodes."""

    def spend(self, values: int = 1) -> None:
        self.left -= values
        if self.left < 0:
            raise ParseError(
                Problem(field="", message=f"holds more than {_MAX_NODES} values after aliases")
            )


def _width(node: yaml.Node, widths: dict[int, int]) -> int:
    """Entries that a merge key (``<<``) takes from a node: PyYAML copies each of them, each time.

    Merges of merges double as aliases do.
    """
    if isinstance(node, yaml.SequenceNode):
        return 1 + sum(_width(entry, widths) for entry in node.value)
    if not isinstance(node, yaml.MappingNode):
        return 1
    if id(node) not in widths:
        widths[id(node)] = 1  # for one that merges itself
        widths[id(node)] += sum(
            _width(value, widths) if key.tag == _TAG + "merge" else 1 for key, value in node.value
        )
    return widths[id(node)]


def _survey(
    node: yaml.Node,
    path: FieldPath,
    lines: dict[FieldPath, int],
    problems: list[Problem],
    budget: _Budget,
) -> None:
    """Note the line of every field below ``node`` and find keys that are no strings or twice."""
    budget.spend()
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            _survey(entry, (*path, index), lines, problems, budget)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[Hashable, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _TAG + "merge":
                budget.spend(_width(value, budget.widths))
                continue
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TAG + "str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a collection"
                problems.append(
                    Problem(
                        field=format_path(path),
                        message=f"a key must be a string; put {shown} in quotes",
                        line=line,
                    )
                )
                continue
            below = (*path, key.value)
            if key.value in seen:
                problems.append(
                    Problem(
                        field=format_path(below),
                        message=f"is given twice; the first is on line {seen[key.value]}",
                        line=line,
                    )
                )
                continue
            seen[key.value] = line
            lines[below] = line
            _survey(value, below, lines, problems, budget)


def _from_yaml(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    detail = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    message = f"is not valid YAML: {detail}"
    if context:
        message += f" ({context})"
    return Problem(field="", message=message, line=None if mark is None else mark.line + 1)


def parse_value(text: str) -> Any:  # noqa: ANN401 - any YAML value
    """Return one YAML value, as given to ``--set``; an empty text is an empty string.

    Raises:
        ParseError: The text is not well-formed.
    """
    documents = parse_documents(text)
    if not documents:
        return None if text.strip() else ""
    if len(documents) > 1:
        raise ParseError(Problem(field="", message="must be one value"))
    return documents[0].data

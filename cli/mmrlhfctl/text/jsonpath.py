r"""``-o jsonpath=``, ``--sort-by`` and ``--for=jsonpath=`` as kubectl has them; pure.

What is understood: texts around ``{...}``, ``{"..."}``, ``{range PATH}...{end}``, and paths of
``.name``, ``['name']``, ``..name``, ``.*``, ``[*]``, ``[2]``, ``[0,2]``, ``[1:3]``, ``[-1:]`` and
``[?(@.name=="value")]``; a dot within a name is written ``\\.``. A field that is not there is
nothing, as kubectl has it. See
https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["JsonPathError", "Path", "Template", "parse_path", "parse_template", "shown"]

_NAME: Final = re.compile(r"(?:\\.|[^.\[\]{}\s\\])+")
_INDEX: Final = re.compile(r"-?\d+(?:,-?\d+)*")
_SLICE: Final = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d+))?")
_QUOTED: Final = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""")
_FILTER: Final = re.compile(r"@(.*?)(?:\s*(==|!=|<=|>=|<|>)\s*(.+))?", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Step = Callable[[Any], Iterator[Any]]


class JsonPathError(ValueError):
    """A template or a path is wrong; says what and where."""


@dataclass(frozen=True)
class Path:
    """A way into an object.

    Attributes:
        steps: What each part of it leads to.
    """

    steps: Sequence[Step]

    def values(self, root: object) -> list[Any]:
        """Return all that the path leads to, in order; nothing where it leads nowhere."""
        found = [root]
        for step in self.steps:
            found = [value for one in found for value in step(one)]
        return found


Part = str | Path | tuple[Path, "Template"]


@dataclass(frozen=True)
class Template:
    """Texts, paths, and parts that are repeated for all that a path leads to."""

    parts: Sequence[Part]

    def text(self, root: object) -> str:
        """Return the template, filled in from an object."""
        pieces = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(part)
            elif isinstance(part, Path):
                pieces.append(" ".join(map(shown, part.values(root))))
            else:
                path, inner = part
                pieces += [inner.text(value) for value in path.values(root)]
        return "".join(pieces)


def shown(value: object) -> str:
    """Return a value as kubectl writes it: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parse_template(text: str) -> Template:
    """Return a template; one without braces is a path, as kubectl takes it.

    Raises:
        JsonPathError: It is none.
    """
    if "{" not in text:
        return Template([parse_path(text)])
    parts, rest = _parts(list(_tokens(text)))
    if rest:
        raise JsonPathError("{end} without a {range}")
    return Template(parts)


def parse_path(text: str) -> Path:
    """Return a path such as ``.status.phase``, ``status.phase`` or ``{.status.phase}``.

    Raises:
        JsonPathError: It is none.
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    inner = re.sub(r"^[$@]", "", inner)
    if inner and inner[0] not in ".[":
        inner = f".{inner}"
    steps: list[Step] = []
    place = 0
    while place < len(inner) and inner[place:] != ".":
        step, place = _step(inner, place)
        steps.append(step)
    return Path(steps)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield ("text", ...), and ("code", what stands within braces)."""
    place = 0
    while place < len(text):
        begin = text.find("{", place)
        if begin < 0:
            yield "text", text[place:]
            return
        if begin > place:
            yield "text", text[place:begin]
        end, quote = begin + 1, ""
        while end < len(text) and (quote or text[end] != "}"):
            if text[end] == "\\":
                end += 1
            elif quote:
                quote = "" if text[end] == quote else quote
            elif text[end] in "'\"":
                quote = text[end]
            end += 1
        if end >= len(text):
            raise JsonPathError(f"{text[begin:]}: a brace is not closed")
        yield "code", text[begin + 1 : end].strip()
        place = end + 1


def _parts(tokens: list[tuple[str, str]]) -> tuple[list[Part], list[tuple[str, str]]]:
    """Return what comes before an ``{end}``, and the tokens from it on."""
    parts: list[Part] = []
    while tokens:
        kind, content = tokens[0]
        if (kind, content) == ("code", "end"):
            return parts, tokens
        tokens = tokens[1:]
        quoted = _QUOTED.fullmatch(content)
        if kind == "text":
            parts.append(content)
        elif quoted is not None:
            parts.append(_unquoted(quoted))
        elif content.startswith("range "):
            inner, tokens = _parts(tokens)
            if not tokens:
                raise JsonPathError(f"{{{content}}} without an {{end}}")
            parts.append((parse_path(content.removeprefix("range ")), Template(inner)))
            tokens = tokens[1:]
        else:
            parts.append(parse_path(content))
    return parts, []


def _step(text: str, place: int) -> tuple[Step, int]:
    """Return the step that begins at a place, and where the next one does."""
    if text[place] == "[":
        end = _closing(text, place)
        return _bracket(text[place + 1 : end].strip()), end + 1
    if text[place] != ".":
        raise JsonPathError(f"{text}: expected . or [ before {text[place:]}")
    deep = text.startswith("..", place)
    begin = place + (2 if deep else 1)
    if text.startswith("[", begin):
        return (_descendants if deep else _same), begin
    match = _NAME.match(text, begin)
    if match is None:
        raise JsonPathError(f"{text}: a name is missing after {text[:begin]}")
    name = _ESCAPE.sub(r"\1", match[0])
    step = _every if name == "*" else _field(name)
    if not deep:
        return step, match.end()
    return (lambda value: (hit for one in _descendants(value) for hit in step(one))), match.end()


def _closing(text: str, begin: int) -> int:
    depth, quote = 0, ""
    for place in range(begin, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote and text[place - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter == "[") - (letter == "]")
            if not depth:
                return place
    raise JsonPathError(f"{text}: a bracket is not closed")


def _bracket(inner: str) -> Step:
    if inner == "*":
        return _every
    if inner.startswith("?(") and inner.endswith(")"):
        return _filter(inner[2:-1].strip())
    if _INDEX.fullmatch(inner):
        return _at([int(number) for number in inner.split(",")])
    if match := _SLICE.fullmatch(inner):
        begin, end, step = (int(part) if part else None for part in match.groups())
        return _between(slice(begin, end, step))
    names = [_unquoted(match) for match in _QUOTED.finditer(inner)]
    if names and re.fullmatch(r"[\s,]*", _QUOTED.sub("", inner)):
        return _fields(names)
    raise JsonPathError(f"[{inner}]: must be a number, a range, *, a name in quotes or ?(...)")


def _filter(inner: str) -> Step:
    match = _FILTER.fullmatch(inner)
    if match is None:
        raise JsonPathError(f"[?({inner})]: must be of the form @.name==value")
    path = parse_path(match[1])
    if match[2] is None:
        return lambda value: (one for one in _every(value) if path.values(one))
    compare, wanted = _COMPARISONS[match[2]], _literal(match[3].strip())

    def holds(one: object) -> bool:
        try:
            return any(compare(value, wanted) for value in path.values(one))
        except TypeError:  # a number against a text
            return False

    return lambda value: (one for one in _every(value) if holds(one))


def _literal(text: str) -> object:
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        return _unquoted(quoted)
    try:
        return json.loads(text)
    except ValueError as error:
        raise JsonPathError(f"{text}: write a text in quotes") from error


def _unquoted(match: re.Match[str]) -> str:
    text = match[1] if match[1] is not None else match[2]
    return _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[1]), text)


def _same(value: object) -> Iterator[Any]:
    yield value


def _every(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _descendants(value: object) -> Iterator[Any]:
    yield value
    for one in _every(value):
        yield from _descendants(one)


def _field(name: str) -> Step:
    return _fields([name])


def _fields(names: Sequence[str]) -> Step:
    def step(value: object) -> Iterator[Any]:
        if isinstance(value, dict):
            yield from (value[name] for name in names if value.get(name) is not None)

    return step


def _at(places: Sequence[int]) -> Step:
    def step(value: object) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (value[one] for one in places if -len(value) <= one < len(value))

    return step


def _between(part: slice) -> Step:
    return lambda value: iter(value[part] if isinstance(value, list) else [])

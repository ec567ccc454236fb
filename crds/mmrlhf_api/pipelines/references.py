"""References within the specs of steps: `${steps.judge.model}`, `${parameters.epochs}`.

A reference to an output stands alone, as it is the URI of what a job left. A parameter may stand
within a text too; alone, it keeps its type. `$${` is a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmrlhf_api.yamltree import FieldPath

__all__ = ["Reference", "references", "resolve"]

_MARK = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_STEP = re.compile(r"steps\.([a-z0-9-]+)\.([A-Za-z0-9_-]+)")
_PARAMETER = re.compile(r"parameters\.([A-Za-z0-9_-]+)")
_FORMS = "${steps.NAME.OUTPUT} or ${parameters.NAME}"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One reference.

    Attributes:
        text: As it stands.
        path: Of the value that it is in.
        whole: Whether it is all of that value.
        step: Step whose output it means.
        output: That output.
        parameter: Parameter that it means.
    """

    text: str
    path: FieldPath
    whole: bool
    step: str | None = None
    output: str | None = None
    parameter: str | None = None

    @property
    def flaw(self) -> str | None:
        """What is wrong with it as it stands; None when nothing is."""
        if not self.text.endswith("}"):
            return f"{self.text} has no end; write {_FORMS}, or $${{ for a plain ${{"
        if self.step is None and self.parameter is None:
            return f"{self.text} is no reference; write {_FORMS}, or $${{ for a plain ${{"
        if self.step is not None and not self.whole:
            return f"{self.text} must stand alone: it is the URI of what step {self.step} leaves"
        return None


def references(value: Any, path: FieldPath = ()) -> Iterator[Reference]:  # noqa: ANN401 - any JSON
    """Yield all references in a value and what it holds.

    Args:
        value: Plain JSON data.
        path: Where it is.
    """
    if isinstance(value, dict):
        for key, child in value.items():
            yield from references(child, (*path, key))
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from references(child, (*path, index))
    elif isinstance(value, str):
        for found in _MARK.finditer(value):
            if found[0] != "$${":
                yield _read(found, value, path)


def resolve(
    value: Any,  # noqa: ANN401 - any JSON
    follow: Callable[[Reference], Any],
    path: FieldPath = (),
) -> Any:  # noqa: ANN401 - any JSON
    """Return a value with what its references mean in their place.

    Args:
        value: Plain JSON data whose references have no flaw.
        follow: Says what a reference means.
        path: Where the value is.
    """
    if isinstance(value, dict):
        return {key: resolve(child, follow, (*path, key)) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(child, follow, (*path, index)) for index, child in enumerate(value)]
    if not isinstance(value, str):
        return value
    if (alone := _MARK.fullmatch(value)) and value != "$${":
        return follow(_read(alone, value, path))

    def replace(found: re.Match[str]) -> str:
        return "${" if found[0] == "$${" else _text(follow(_read(found, value, path)))

    return _MARK.sub(replace, value)


def _read(found: re.Match[str], value: str, path: FieldPath) -> Reference:
    name = found[1] if found[2] else ""
    step, parameter = _STEP.fullmatch(name), _PARAMETER.fullmatch(name)
    return Reference(
        text=found[0],
        path=path,
        whole=found[0] == value,
        step=step[1] if step else None,
        output=step[2] if step else None,
        parameter=parameter[1] if parameter else None,
    )


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

"""Errors of the API package, one tree.

::

    ApiError
    +-- FieldError            (also ValueError) raised by validators: one field does not fit others
    +-- JobFileError          a job file cannot be read or is not valid; lists every problem
    +-- UnknownKindError      no such kind in the registry
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmrlhf_api.plain_text import make_safe

__all__ = [
    "MAX_PROBLEMS",
    "ApiError",
    "FieldError",
    "JobFileError",
    "Problem",
    "UnknownKindError",
    "more_problems",
]

MAX_PROBLEMS = 100
"""Problems of a file that are told; there may be as many as the file has fields."""
_MAX_SHOWN = 300
"""Characters of a field or a value that are told."""


class ApiError(Exception):
    """Base of all errors of this package."""


class FieldError(ApiError, ValueError):
    """A field does not fit the rest of the object; raised inside model validators.

    Args:
        field: Wire path of the field at fault, relative to the object that is validated.
        message: What is wrong and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class UnknownKindError(ApiError):
    """The registry has no such kind.

    Args:
        name: The kind that was asked for.
        suggestion: The nearest name that there is.
        known: Names of all kinds.
    """

    def __init__(self, name: str, *, suggestion: str | None, known: Iterable[str]) -> None:
        self.suggestion = suggestion
        hint = f"; did you mean {suggestion}?" if suggestion else ";"
        super().__init__(f"unknown kind {name!r}{hint} there are {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a job file.

    Attributes:
        field: Wire path of the field, such as ``spec.training.epochs``; empty for the file.
        message: What is wrong and what is allowed.
        given: The value that was given, as the user would write it; None when there is none.
        line: 1-based line in the file, None when unknown.
        origin: Where the value came from when it was not the file, such as ``--set``.
    """

    field: str
    message: str
    given: str | None = None
    line: int | None = None
    origin: str | None = None

    def __str__(self) -> str:
        message = make_safe(self.message, lines=True)
        text = f"{_cut(make_safe(self.field))}: {message}" if self.field else message
        return f"{text} (given: {_cut(make_safe(self.given))})" if self.given is not None else text


def more_problems(count: int) -> Problem:
    """Return the entry that stands for problems that are not told one by one."""
    return Problem(field="", message=f"and {count:,} more problems; mend those above first")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


class JobFileError(ApiError):
    """A job file cannot be read or is not valid.

    Args:
        source: Name of the file, ``<stdin>`` or ``<text>``.
        problems: Everything that is wrong, at least one entry; of very many the first
            `MAX_PROBLEMS` are kept, and one that counts the others.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems[:MAX_PROBLEMS])
        if left := problems[MAX_PROBLEMS:]:
            # One that counts others, and nothing besides, stays as it is.
            self.problems += (left[0] if len(left) == 1 else more_problems(len(left)),)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return one line per problem, each starting with where it is."""
        return [f"{self._place(problem)}: {problem}" for problem in self.problems]

    def _place(self, problem: Problem) -> str:
        if problem.origin is not None:
            return problem.origin
        return self.source if problem.line is None else f"{self.source}:{problem.line}"

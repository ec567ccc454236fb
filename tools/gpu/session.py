"""Cases one after the other, within a budget of time; none that fails takes others along."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Case", "CheckFailedError", "Outcome", "State", "UnavailableError", "run_cases"]

State: TypeAlias = Literal["done", "failed", "out of memory", "unavailable", "skipped"]

_LINES: Final = 6
"""Of a traceback, the last ones."""


@dataclass(frozen=True)
class Case:
    """Something to do.

    Attributes:
        name: What it is called.
        run: Does it, and gives its figures.
        settings: How, for the record.
        needs: Seconds that must be left for it to begin.
    """

    name: str
    run: Callable[[], Mapping[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    needs: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        name: Of the case.
        state: How it ended.
        seconds: How long it took, with all that it had to build.
        settings: Of the case.
        figures: What it gave; empty unless it is done.
        reason: Why it is not done, or why a check failed.
    """

    name: str
    state: State
    seconds: float
    settings: dict[str, Any]
    figures: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


class CheckFailedError(Exception):
    """A check found something else than it must.

    Attributes:
        figures: What it found.
    """

    def __init__(self, reason: str, figures: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.figures = figures


class UnavailableError(Exception):
    """A case cannot be done here, such as for want of a kernel."""


def run_cases(
    cases: Iterable[Case],
    *,
    budget: float,
    clock: Callable[[], float],
    out_of_memory: tuple[type[BaseException], ...],
    clear: Callable[[], None],
) -> Iterator[Outcome]:
    """Run cases in order, and yield what became of each when it is known.

    Args:
        cases: What to do, what matters most first.
        budget: Seconds for all of them.
        clock: Seconds.
        out_of_memory: What a device raises that has too little memory.
        clear: Gives memory back after a case that did not end well.
    """
    start = clock()
    for case in cases:
        left = budget - (begin := clock()) + start
        if left < case.needs or left <= 0:
            reason = (
                f"{max(left, 0):.0f} s of {budget:.0f} s are left, and it may need {case.needs:.0f}"
            )
            yield Outcome(case.name, "skipped", 0.0, case.settings, reason=reason)
            continue
        state, figures, reason = _run(case, out_of_memory)
        if state != "done":
            clear()
        yield Outcome(case.name, state, clock() - begin, case.settings, figures, reason)


def _run(
    case: Case, out_of_memory: tuple[type[BaseException], ...]
) -> tuple[State, Mapping[str, Any], str]:
    try:
        return "done", case.run(), ""
    except out_of_memory as error:
        return "out of memory", {}, str(error).partition("\n")[0]
    except (ImportError, UnavailableError) as error:
        return "unavailable", {}, str(error)
    except CheckFailedError as error:
        return "failed", error.figures, str(error)
    except Exception:  # noqa: BLE001 - whatever it is, the others go on, and it is told
        lines = traceback.format_exc().strip().splitlines()
        return "failed", {}, "\n".join(lines[-_LINES:])

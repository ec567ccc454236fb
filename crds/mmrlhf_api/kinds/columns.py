"""Which figures lists of jobs show."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from mmrlhf_api.kinds.kind import Kind
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.progress import FIGURES, Course, Figure

__all__ = ["columns", "listed"]


def columns(kind: Kind) -> tuple[list[Figure], list[Figure]]:
    """Return the figures in the lists of one kind: those of every list, those of wide ones."""
    titled = [figure for figure in FIGURES if figure.title and figure.of(kind.course)]
    return (
        [figure for figure in titled if figure in kind.columns],
        [figure for figure in titled if figure not in kind.columns],
    )


def listed(kinds: Iterable[Kind]) -> tuple[list[Figure], list[Figure]]:
    """Return the figures in a list of jobs of several kinds: those of every list, and of wide ones.

    Kinds of one course share their columns; those of several leave each other what tells most.
    """
    narrow, more = _listed(frozenset(kind.course for kind in kinds), tuple(KINDS))
    return [*narrow], [*more]


@functools.cache
def _listed(
    courses: frozenset[Course], known: tuple[str, ...]
) -> tuple[tuple[Figure, ...], tuple[Figure, ...]]:
    """The same by courses and names of all kinds: each row of a list asks for it."""
    shown = {figure for name in known for figure in KINDS[name].columns}
    narrow = tuple(
        figure
        for figure in FIGURES
        if figure in shown
        and any(figure.of(course) for course in courses)
        and (len(courses) == 1 or figure.mixed)
    )
    return narrow, tuple(figure for figure in FIGURES if figure.title and figure not in shown)

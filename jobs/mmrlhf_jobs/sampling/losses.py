"""What became of the rows of each source: how many are candidates, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE, DROP_COUNT, count_rows
from mmrlhf_jobs.sampling.parts import Part

__all__ = ["SourceLosses", "check_sources", "count_losses", "loss_metrics"]

_SHOWN: Final = 6
_METRICS: Final = 48


@dataclass(frozen=True)
class SourceLosses:
    """The rows of one source.

    Attributes:
        source: Its name.
        rows: Rows that were read, left out or not.
        lost: Rows that were left out, by reason.
    """

    source: str
    rows: int
    lost: Mapping[str, int]

    @property
    def kept(self) -> int:
        """Rows that are left."""
        return self.rows - sum(self.lost.values())

    def ordered(self) -> list[tuple[str, int]]:
        """Reasons and numbers, the largest first."""
        return sorted(self.lost.items(), key=lambda one: (-one[1], one[0]))

    def sentence(self) -> str:
        """All of it in words."""
        reasons = [
            f"{number:,} {reason}{' (by nature)' if reason in BY_NATURE else ''}"
            for reason, number in self.ordered()
        ]
        told = f"; left out: {', '.join(first_few(reasons, shown=_SHOWN))}" if reasons else ""
        return f"source {self.source}: {self.kept:,} of {self.rows:,} rows are candidates{told}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": self.rows, "kept": self.kept, "lost": dict(self.ordered())}


def count_losses(
    sources: Iterable[str],
    rows: Sequence[Part],
    later: Iterable[tuple[Part, Part]] = (),
) -> tuple[SourceLosses, ...]:
    """Count the rows of each source.

    Args:
        sources: Names of all sources, in the order of the spec.
        rows: Parts of the read stage.
        later: Parts of the read stage with parts of later stages that were made of them.
    """
    total: Counter[str] = Counter()
    lost: dict[str, Counter[str]] = {source: Counter() for source in sources}
    for part in rows:
        total[part.facts["source"]] += count_rows(part.counts)
        lost[part.facts["source"]].update(_drops(part))
    for part, made in later:
        lost[part.facts["source"]].update(_drops(made))
    return tuple(SourceLosses(name, total[name], dict(found)) for name, found in lost.items())


def check_sources(losses: Sequence[SourceLosses]) -> None:
    """Refuse a source that gives nothing: nobody names one for that.

    Raises:
        DataError: One does; with what its rows were left out for.
    """
    empty = [one for one in losses if one.kept <= 0]
    if empty:
        told = "; ".join(first_few([one.sentence() for one in empty], shown=_SHOWN))
        raise DataError(
            f"{told}. A source that gives no row at all is not what was meant: see drops.parquet of"
            " its parts for the rows, and mend it, or take it out of spec.sources"
        )


def loss_metrics(losses: Sequence[SourceLosses]) -> dict[str, float]:
    """Figures for the status: rows left out in all, and by source and reason, the largest first."""
    each = [(number, one.source, why) for one in losses for why, number in one.lost.items()]
    largest = sorted(each, key=lambda one: (-one[0], one[1:]))[:_METRICS]
    named = {f"leftOut.{source}.{why}": float(number) for number, source, why in largest}
    return {"leftOut": float(sum(number for number, _, _ in each)), **named}


def _drops(part: Part) -> dict[str, int]:
    return {
        name.removeprefix(DROP_COUNT): number
        for name, number in part.counts.items()
        if name.startswith(DROP_COUNT)
    }

"""A plan as a table for terminals: a row a run, what goes first."""

from __future__ import annotations

from typing import Final

from rich.table import Table
from rich.text import Text

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.retention.plan import Fate
from mmrlhf_jobs.retention.pruning import Pruned

__all__ = ["make_table", "sentence"]

_ORDER: Final = (Fate.GOES, Fate.MARK, Fate.WAITS, Fate.STAYS)


def make_table(pruned: Pruned) -> Table:
    """What becomes of each run and cached value, how large it is, and why."""
    table = Table(title_justify="left")
    for heading in ("", "size", "what", "where", "why"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "size" else "left")
    for one in sorted(pruned.items, key=lambda one: (_ORDER.index(one.fate), one.key)):
        word, why = one.fate.value, one.why
        if one.key in pruned.removed:
            word = "gone"
        elif one.key in pruned.spared:
            word, why = Fate.STAYS.value, pruned.spared[one.key]
        elif one.key in pruned.marked:
            word = Fate.WAITS.value
        # As Text: a str would be read as markup.
        cells = (word, _size(one.bytes), one.title, one.key, why)
        table.add_row(*(Text(make_safe(text)) for text in cells))
    return table


def sentence(pruned: Pruned, *, delete: bool) -> str:
    """What came of it, in one sentence."""
    figures = pruned.figures()
    if not delete:
        to_mark = sum(one.fate is Fate.MARK for one in pruned.items)
        return (
            f"nothing was changed: {figures['toGo']:.0f} would go"
            f" ({_size(int(figures['toGoBytes']))}), {to_mark} would be marked,"
            f" {figures['waiting']:.0f} are marked, {figures['stays']:.0f} stay"
        )
    return (
        f"{figures['removed']:.0f} are gone ({_size(int(figures['removedBytes']))}),"
        f" {figures['marked']:.0f} are marked now, {figures['waiting']:.0f} were before,"
        f" {figures['stays']:.0f} stay"
    )


def _size(count: int) -> str:
    """Bytes in the unit in which they are read at a glance."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"

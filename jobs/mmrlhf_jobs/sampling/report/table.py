"""Table 1 of the paper for a terminal: types before and after, with the deviation."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.sampling.selection.statistics import Statistics

__all__ = ["notes", "type_table"]


def type_table(statistics: Statistics) -> Table:
    """One row a type; shares are of the candidates, and of what was picked."""
    table = Table(title="Selection by type", title_justify="left")
    table.add_column("type")
    heads = ("candidates", "in", "wanted", "selected", "out", "deviation", "plain N = T/k")
    for head in heads:
        table.add_column(head, justify="right")
    for name, one in statistics.types.items():
        table.add_row(
            Text(make_safe(name)),  # a str would be read as markup
            f"{one.available:,}",
            f"{one.share_in:.2%}",
            f"{one.wanted:,}",
            f"{one.selected:,}",
            f"{one.share_out:.2%}",
            f"{one.deviation:+.2%}",
            f"{one.plain:,} ({one.plain_deviation:+.1%})",
        )
    return table


def notes(statistics: Statistics) -> list[str]:
    """Sentences on what the table does not tell: shortfalls, and how even the selection is."""
    found = [
        f"{make_safe(name)}: {one.missing:,} records are missing in the corpora"
        for name, one in statistics.types.items()
        if one.missing
    ]
    found += [
        f"{make_safe(name)}: {one.saturated} of {statistics.clusters} clusters gave all they had;"
        f" the others gave up to {one.level:,} each"
        for name, one in statistics.types.items()
        if one.saturated
    ]
    found.append(
        "As varied as so many equal clusters:"
        f" {statistics.evenness_in.effective_clusters:.1f} before,"
        f" {statistics.evenness_out.effective_clusters:.1f} after,"
        f" {statistics.evenness_plain.effective_clusters:.1f} with plain N = T/k"
    )
    return found

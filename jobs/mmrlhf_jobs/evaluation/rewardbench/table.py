"""The report as a table for terminals: a row a category, a block of columns a model."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.evaluation.rewardbench.measures import CategoryResult, RewardBenchReport
from mmrlhf_jobs.evaluation.rewardbench.rates import Interval, Rate

__all__ = ["make_table", "notes"]


def make_table(reports: Mapping[str, RewardBenchReport]) -> Table:
    """Table 4 of the paper for these models, with numbers and 95 % Wilson intervals.

    Args:
        reports: Reports by the name of the model.
    """
    table = Table(title="RewardBench", title_justify="left")
    several = len(reports) > 1
    if several:
        table.add_column("model")
    table.add_column("category")
    for heading, unit in (("ACC", "pairs"), ("ACC+", "queries")):
        table.add_column(heading, justify="right")
        table.add_column("95 %", justify="right")
        table.add_column(unit, justify="right")
    for name, report in reports.items():
        for category, result in report.by_category.items():
            _add(table, name if several else None, category, result)
        _add(table, name if several else None, "overall", report.overall)
        table.add_section()
    return table


def notes(reports: Mapping[str, RewardBenchReport]) -> list[str]:
    """What the figures leave out, one line each; empty where they leave out nothing."""
    lines = []
    for name, report in reports.items():
        overall = report.overall
        for number, what in (
            (overall.ties, "pairs are ties of the model and count as wrong"),
            (
                overall.failed_pairs,
                f"pairs of {overall.failed_queries} queries lack a score and are not counted",
            ),
            (overall.unrankable, "queries have no ranking by people and are not counted"),
        ):
            if number:
                lines.append(f"{make_safe(name)}: {number} {what}")
    return lines


def _add(table: Table, name: str | None, category: str, result: CategoryResult) -> None:
    cells = [*_cells(result.acc), *_cells(result.acc_plus)]
    head = [category] if name is None else [name, category]
    # As Text: a str would be read as markup.
    names = [Text(make_safe(text)) for text in head]
    table.add_row(*names, *cells, style="bold" if category == "overall" else None)


def _cells(rate: Rate) -> list[str]:
    return [_share(rate.value), _range(rate.interval), str(rate.n)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} - {interval[1]:.2f}"

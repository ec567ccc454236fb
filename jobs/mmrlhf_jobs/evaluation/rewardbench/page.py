"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Final

from mmrlhf_api.plain_text import make_html
from mmrlhf_jobs.evaluation.rewardbench.measures import (
    CategoryResult,
    JudgedPair,
    RewardBenchReport,
)
from mmrlhf_jobs.evaluation.rewardbench.plots import plot_margins, plot_rates
from mmrlhf_jobs.evaluation.rewardbench.rates import Interval, Rate
from mmrlhf_jobs.evaluation.rewardbench.table import notes
from mmrlhf_jobs.evaluation.shell import legend, render_shell

__all__ = ["render_page"]

_LISTED: Final = 20

_BODY: Final = Template("""<p>$summary</p>
$legend
<h2>Accuracy by category</h2>
$rates
<p>Bars are 95&nbsp;% intervals: Wilson's for ACC+; for ACC Wilson's with the effective number of
pairs, since the pairs of one query hang together. The dashed line is what a coin gets.</p>
$table
<h2>Margins</h2>
<p>A pair is right when its margin is above 0; a tie is wrong.</p>
$margins
<h2>Wrong pairs with the largest margin against people</h2>
$wrong
""")


def render_page(reports: Mapping[str, RewardBenchReport], *, title: str = "RewardBench") -> str:
    """Render reports side by side.

    Args:
        reports: Reports by the name of the model, at least one.
        title: Heading of the page.
    """
    several = len(reports) > 1
    body = _BODY.substitute(
        summary=_summary(reports),
        legend=legend(list(reports)),
        rates=plot_rates(reports),
        table=_table(reports),
        margins="\n".join(
            (f"<h3>{make_html(name)}</h3>" if several else "")
            + (plot_margins(report) if report.judged else "<p>No pair was judged.</p>")
            for name, report in reports.items()
        ),
        wrong="\n".join(
            (f"<h3>{make_html(name)}</h3>" if several else "") + _wrong(report.wrong(_LISTED))
            for name, report in reports.items()
        ),
    )
    return render_shell(title, body)


def _summary(reports: Mapping[str, RewardBenchReport]) -> str:
    lines = []
    for name, report in reports.items():
        acc, plus = report.overall.acc, report.overall.acc_plus
        lines.append(
            f"{name}: {acc.correct} of {acc.n} pairs right, {plus.correct} of {plus.n} queries"
            " right in all their pairs."
        )
    return "<br>".join(map(make_html, [*lines, *(line + "." for line in notes(reports))]))


def _table(reports: Mapping[str, RewardBenchReport]) -> str:
    several = len(reports) > 1
    head = ["model"] * several + ["category"]
    cells = "".join(f'<th class="name">{text}</th>' for text in head)
    for heading, unit in (("ACC", "pairs"), ("ACC+", "queries")):
        cells += f"<th>{heading}</th><th>95&nbsp;% (Wilson)</th><th>{unit}</th>"
    rows = [f"<tr>{cells}</tr>"]
    for name, report in reports.items():
        for category, result in [*report.by_category.items(), ("overall", report.overall)]:
            labels = ([name] if several else []) + [category]
            style = ' class="overall"' if category == "overall" else ""
            rows.append(f"<tr{style}>{_names(labels)}{_result(result)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _result(result: CategoryResult) -> str:
    return _rate(result.acc) + _rate(result.acc_plus)


def _rate(rate: Rate) -> str:
    value = "-" if rate.value is None else f"{rate.value:.3f}"
    return f'<td>{value}</td><td class="soft">{_range(rate.interval)}</td><td>{rate.n}</td>'


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _names(labels: list[str]) -> str:
    return "".join(f'<td class="name">{make_html(label)}</td>' for label in labels)


def _wrong(pairs: tuple[JudgedPair, ...]) -> str:
    if not pairs:
        return "<p>None.</p>"
    head = '<tr><th class="name">query</th><th class="name">category</th>'
    head += "<th>preferred</th><th>other</th><th>margin</th></tr>"
    rows = "".join(
        f"<tr>{_names([pair.query_id, pair.category])}<td>{pair.pair.chosen + 1}</td>"
        f"<td>{pair.pair.rejected + 1}</td><td>{pair.margin:.3f}</td></tr>"
        for pair in pairs
    )
    return f"<table>{head}{rows}</table>"

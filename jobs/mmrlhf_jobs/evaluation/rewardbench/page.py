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
from mmrlhf_jobs.evaluation.rewardbench.plots import SERIES, plot_margins, plot_rates
from mmrlhf_jobs.evaluation.rewardbench.rates import Interval, Rate
from mmrlhf_jobs.evaluation.rewardbench.table import notes

__all__ = ["render_page"]

_LISTED: Final = 20

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --ink: #1c1f23; --soft: #5d656f; --line: #d9dde2; --band: #f1f3f5;
  --right: #2b7a78; --wrong: #c8553d;
  --s0: #2b6cb0; --s1: #c05621; --s2: #2f855a; --s3: #97266d; --s4: #8a6d00; --s5: #4a5568;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e8eaed; --soft: #9aa4b0; --line: #323941; --band: #1c2127;
    --right: #5fb8b3; --wrong: #f0876f;
    --s0: #74aef0; --s1: #f2a05f; --s2: #6fcf97; --s3: #e58ac2; --s4: #e0c44c; --s5: #aab4c2;
  }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1.25rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; font-weight: 600; }
p, li { color: var(--soft); margin: .25rem 0; max-width: 46rem; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%;
  margin-top: .75rem; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; }
th.name, td.name { text-align: left; overflow-wrap: anywhere; }
tr.overall td { font-weight: 600; }
td.soft { color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0; }
.legend span::before { content: ""; display: inline-block; width: .7em; height: .7em;
  border-radius: 50%; margin-right: .4em; background: currentColor; }
text { font: 12px system-ui, "Liberation Sans", sans-serif; fill: var(--ink); }
text.tick { fill: var(--soft); font-size: 11px; }
text.heading { fill: var(--soft); } text.strong { font-weight: 600; }
text.middle { text-anchor: middle; } text.end { text-anchor: end; }
text.value { font-variant-numeric: tabular-nums; }
.band { fill: var(--band); } .grid { stroke: var(--line); }
.axis { stroke: var(--ink); } .chance { stroke: var(--soft); stroke-dasharray: 4 3; }
.whisker { stroke: currentColor; stroke-width: 2; opacity: .55; } circle { fill: currentColor; }
rect.right { fill: var(--right); } rect.wrong { fill: var(--wrong); }
$colours
</style>
</head>
<body>
<h1>$title</h1>
<p>$summary</p>
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
</body>
</html>
""")


def render_page(reports: Mapping[str, RewardBenchReport], *, title: str = "RewardBench") -> str:
    """Render reports side by side.

    Args:
        reports: Reports by the name of the model, at least one.
        title: Heading of the page.
    """
    several = len(reports) > 1
    colours = "\n".join(f".s{n} {{ color: var(--s{n}); }}" for n in range(SERIES))
    legend = "".join(
        f'<span class="s{place % SERIES}">{make_html(name)}</span>'
        for place, name in enumerate(reports)
    )
    return _PAGE.substitute(
        title=make_html(title),
        summary=_summary(reports),
        colours=colours,
        legend=f'<div class="legend">{legend}</div>' if several else "",
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

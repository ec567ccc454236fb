"""The report as a page: safety with its intervals, the comparison, benchmarks by capability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mmrlhf_api.plain_text import make_html
from mmrlhf_jobs.evaluation.report.sources import EvaluationReport, MeasuredModel
from mmrlhf_jobs.evaluation.rewardbench.plots import plot_counts, plot_shares
from mmrlhf_jobs.evaluation.shell import legend, render_shell
from mmrlhf_jobs.evaluation.understanding.lmms_eval import BenchmarkFigure
from mmrlhf_jobs.evaluation.understanding.table2 import CAPABILITIES, OTHER

__all__ = ["render_page"]

_WORDS: Final = {"asr": "ASR", "rta": "RtA", "ratio": "Ratio"}


def render_page(report: EvaluationReport, *, title: str) -> str:
    """Render what was measured.

    Args:
        report: What was measured.
        title: Heading of the page.
    """
    names = list(report.models)
    parts = [legend(names), *_safety(report.models), *_comparison(report.comparison)]
    return render_shell(title, "\n".join(filter(None, [*parts, *_understanding(report.models)])))


def _safety(models: Mapping[str, MeasuredModel]) -> Iterator[str]:
    measured = {name: one.safety for name, one in models.items() if one.safety is not None}
    if not measured:
        return
    yield "<h2>Safety</h2>"
    rows = list(dict.fromkeys(row for figures in measured.values() for row in _rows(figures)))
    places = {name: place for place, name in enumerate(models)}
    yield plot_shares(
        {
            _label(row, measured): {
                name: share
                for name, figures in measured.items()
                if (share := _share(figures, row)) is not None
            }
            for row in rows
        },
        places,
    )
    yield (
        "<p>Shares of judged answers with exact 95&nbsp;% intervals (Clopper-Pearson). Less is"
        " better where the arrow points down. Answers without a judgement are in no share.</p>"
    )
    yield _safety_table(rows, measured)


def _rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for task, found in figures["tasks"].items():
        for measure in found["measures"]:
            yield task, measure


def _share(figures: Mapping[str, Any], row: tuple[str, str]) -> Mapping[str, Any] | None:
    task, measure = row
    found: Mapping[str, Any] | None
    found = figures["tasks"].get(task, {}).get("measures", {}).get(measure)
    return found


def _label(row: tuple[str, str], measured: Mapping[str, Mapping[str, Any]]) -> str:
    task, measure = row
    shares = (_share(figures, row) for figures in measured.values())
    better = next(share["better"] for share in shares if share is not None)
    return f"{task} {_WORDS.get(measure, measure)} {'↓' if better == 'lower' else '↑'}"


def _percent(share: Mapping[str, Any]) -> str:
    return "-" if share["value"] is None else f"{share['value']:.1%}"


def _safety_table(
    rows: Sequence[tuple[str, str]], measured: Mapping[str, Mapping[str, Any]]
) -> str:
    head = '<th class="name">task</th>' + "".join(
        f"<th>{make_html(name)}</th><th>95&nbsp;%</th><th>judged</th><th>errors</th>"
        for name in measured
    )
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        cells = "".join(_cells(figures, row) for figures in measured.values())
        lines.append(f'<tr><td class="name">{make_html(_label(row, measured))}</td>{cells}</tr>')
    for mean, label in (("unsafety", "Unsafety ↓"), ("safety", "Safety ↑")):
        cells = "".join(
            f'<td>{_mean(figures[mean])}</td><td class="soft"></td><td></td><td></td>'
            for figures in measured.values()
        )
        lines.append(f'<tr class="overall"><td class="name">{label}</td>{cells}</tr>')
    return f"<table>{''.join(lines)}</table>"


def _cells(figures: Mapping[str, Any], row: tuple[str, str]) -> str:
    share = _share(figures, row)
    if share is None:
        return '<td>-</td><td class="soft">-</td><td>-</td><td>-</td>'
    errors = figures["tasks"][row[0]]["error"]
    interval = f"{share['lower']:.1%} to {share['upper']:.1%}"
    return (
        f'<td>{_percent(share)}</td><td class="soft">{interval}</td><td>{share["judged"]}</td>'
        f"<td>{errors}</td>"
    )


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _comparison(figures: Mapping[str, Any] | None) -> Iterator[str]:
    if figures is None:
        return
    yield "<h2>Comparison</h2>"
    counts = [(word, int(figures[word])) for word in ("wins", "ties", "losses", "errors")]
    yield plot_counts(counts)
    rate = figures["winRate"]
    said = ", ".join(f"{count} {word}" for word, count in counts)
    if rate["value"] is not None:
        said += (
            f"; of {rate['decided']} decided queries the candidate wins {rate['value']:.1%}"
            f" ({rate['lower']:.1%} to {rate['upper']:.1%})"
        )
    agreement = figures["agreement"]
    if agreement is not None:
        kappa = "" if agreement["kappa"] is None else f", kappa {agreement['kappa']:.2f}"
        said += (
            f". With the two exchanged the judge says the same of {agreement['same']} of"
            f" {agreement['queries']} queries ({agreement['share']:.1%}{kappa}); its lean to the"
            f" first place is {agreement['firstBias']:+.1%}"
        )
    yield f"<p>Candidate against champion: {make_html(said)}.</p>"


def _understanding(models: Mapping[str, MeasuredModel]) -> Iterator[str]:
    figures = {
        name: {one.name: one for one in model.understanding} for name, model in models.items()
    }
    known = {key: one for found in figures.values() for key, one in found.items()}
    if not known:
        return
    yield "<h2>Understanding</h2>"
    yield (
        "<p>As lmms-eval gives them, each in the unit of its benchmark, with the standard error"
        " where it knows one. A star marks figures of fewer samples than the benchmark has.</p>"
    )
    head = "".join(f"<th>{make_html(name)}</th>" for name in models)
    lines = [f'<tr><th class="name">benchmark</th>{head}<th>samples</th></tr>']
    for capability in (*CAPABILITIES, OTHER):
        rows = [(key, one) for key, one in known.items() if one.capability == capability]
        if rows:
            span = len(models) + 2
            lines.append(f'<tr><th class="name" colspan="{span}">{make_html(capability)}</th></tr>')
        for key, one in rows:
            cells = "".join(_figure(found.get(key)) for found in figures.values())
            samples = "-" if one.samples is None else str(one.samples)
            lines.append(
                f'<tr><td class="name">{make_html(_benchmark(one))}</td>{cells}'
                f"<td>{samples}</td></tr>"
            )
    yield f"<table>{''.join(lines)}</table>"


def _benchmark(figure: BenchmarkFigure) -> str:
    arrow = {True: " ↑", False: " ↓", None: ""}[figure.higher_is_better]
    return f"{figure.name}{arrow}{' *' if figure.limited else ''}"


def _figure(figure: BenchmarkFigure | None) -> str:
    if figure is None:
        return "<td>-</td>"
    stderr = "" if figure.stderr is None else f" ± {figure.stderr:.3g}"
    return f"<td>{figure.value:.4g}{stderr}</td>"

"""Two plots as inline SVG; colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmrlhf_jobs.evaluation.rewardbench.measures import CategoryResult, RewardBenchReport
from mmrlhf_jobs.evaluation.rewardbench.rates import Interval, Rate
from mmrlhf_jobs.pages.svg import draw_line, draw_rect, draw_text, draw_title, picture

__all__ = ["SERIES", "plot_margins", "plot_rates"]

SERIES: Final = 6
"""Number of colours for models; further ones start again."""

_LABELS: Final = 88
_PANEL: Final = 290
_GAP: Final = 60
_TOP: Final = 34
_LINE: Final = 17


def plot_rates(reports: Mapping[str, RewardBenchReport]) -> str:
    """ACC and ACC+ with 95 % intervals, a row a category and a dot a model.

    The intervals of ACC allow for pairs of one query to hang together.
    """
    categories: dict[str, None] = {}
    for report in reports.values():
        categories |= dict.fromkeys(report.by_category)
    rows = ["overall", *categories]
    height = _LINE * len(reports) + 12
    bottom = _TOP + height * len(rows)
    width = _LABELS + 2 * _PANEL + _GAP + 46
    parts = []
    for row, category in enumerate(rows):
        top = _TOP + row * height
        if row % 2 == 0:
            parts.append(draw_rect("band", x=0, y=top, width=width, height=height))
        weight = " strong" if category == "overall" else ""
        parts.append(draw_text(8, top + height / 2 + 4, category, f"label{weight}"))
    for panel, heading in enumerate(("ACC: right pairs", "ACC+: queries with all pairs right")):
        left = _LABELS + panel * (_PANEL + _GAP)
        parts.append(draw_text(left, 14, heading, "heading"))
        parts += _axis(left, bottom, chance=panel == 0)
        for row, category in enumerate(rows):
            for place, (name, report) in enumerate(reports.items()):
                result = report.overall if row == 0 else report.by_category.get(category)
                if result is not None:
                    y = _TOP + row * height + 6 + _LINE * (place + 0.5)
                    rate, interval = _figures(result, panel)
                    parts.append(
                        _dot(left, y, place=place, name=name, rate=rate, interval=interval)
                    )
    label = "ACC and ACC+ by category with 95 % intervals"
    return picture(width, bottom + 26, label, parts)


def plot_margins(report: RewardBenchReport, *, bins: int = 12) -> str:
    """Histogram of the margins: wrong pairs left of zero, right ones right of it.

    Args:
        report: One model's report, with at least one judged pair.
        bins: Bins on each side of zero.
    """
    margins = [pair.margin for pair in report.judged]
    reach = max(map(abs, margins)) or 1.0
    counts = [0] * (2 * bins)
    for margin in margins:
        # A bin holds its upper edge: a tie is wrong and falls left of zero.
        counts[min(2 * bins, max(1, math.ceil(margin / reach * bins) + bins)) - 1] += 1
    width, height, left = _LABELS + 2 * _PANEL + _GAP + 46, 190, 40
    step = (width - left - 20) / (2 * bins)
    tallest = max(counts)
    base = height - 36
    scale = (base - 16) / tallest
    parts = []
    for value in _ticks(tallest):
        y = base - value * scale
        parts.append(draw_line("grid", x=(left, width - 20), y=(y, y)))
        parts.append(draw_text(left - 6, y + 4, str(value), "tick end"))
    for place, count in enumerate(counts):
        side = "right" if place >= bins else "wrong"
        low, high = ((place + end - bins) * reach / bins for end in (0, 1))
        parts.append(
            draw_rect(
                side,
                x=left + place * step + 1,
                y=base - count * scale,
                width=step - 2,
                height=count * scale,
                title=f"{count} pairs with a margin above {low:.3g} up to {high:.3g}",
            )
        )
    middle = left + bins * step
    parts.append(draw_line("axis", x=(middle, middle), y=(8, base)))
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = middle + share * bins * step
        parts.append(draw_text(x, base + 16, f"{share * reach:.3g}", "tick middle"))
    parts.append(
        draw_text(
            middle, height - 4, "score of the preferred response minus the other", "tick middle"
        )
    )
    wrong = sum(not pair.right for pair in report.judged)
    return picture(width, height, f"{wrong} of {len(margins)} margins are not above 0", parts)


def _figures(result: CategoryResult, panel: int) -> tuple[Rate, Interval | None]:
    if panel == 0:
        return result.acc, result.acc_clustered
    return result.acc_plus, result.acc_plus.interval


def _axis(left: float, bottom: float, *, chance: bool) -> list[str]:
    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + value * _PANEL
        style = "chance" if chance and value == 0.5 else "grid"
        parts.append(draw_line(style, x=(x, x), y=(_TOP, bottom)))
        parts.append(draw_text(x, bottom + 16, f"{value:g}", "tick middle"))
    return parts


def _dot(
    left: float, y: float, *, place: int, name: str, rate: Rate, interval: Interval | None
) -> str:
    if rate.value is None or interval is None:
        return draw_text(left, y + 4, "no judgement", "tick")
    low, x, high = (left + share * _PANEL for share in (interval[0], rate.value, interval[1]))
    tip = f"{name}: {rate.correct} of {rate.n}, {interval[0]:.3f} to {interval[1]:.3f}"
    value = draw_text(left + _PANEL + 10, y + 4, f"{rate.value:.2f}", "value")
    return (
        f'<g class="s{place % SERIES}">{draw_title(tip)}'
        f"{draw_line('whisker', x=(low, high), y=(y, y))}"
        f'<circle cx="{x:.1f}" cy="{y}" r="4.5"/>{value}</g>'
    )


def _ticks(tallest: int) -> Sequence[int]:
    """Up to five whole numbers from 0 on."""
    rough = max(1.0, tallest / 4)
    power = 10 ** math.floor(math.log10(rough))
    step = int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough))
    return range(0, tallest + 1, step)


def plot_shares(
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]], places: Mapping[str, int]
) -> str:
    """Shares of answers with their 95 % intervals, a row a measure and a dot a model.

    Args:
        rows: Shares by measure and model, each with value, lower, upper and judged; 0 to 1.
        places: Place of each model among the colours.
    """
    names = [name for name in places if any(name in shares for shares in rows.values())]
    height = _LINE * len(names) + 10
    left, top, scale = 240, 8, 480
    bottom, width = top + height * len(rows), left + scale + 46
    parts = []
    for number, label in enumerate(rows):
        at = top + number * height
        if number % 2 == 0:
            parts.append(draw_rect("band", x=0, y=at, width=width, height=height))
        parts.append(draw_text(8, at + height / 2 + 4, label, "label"))
    for tick in range(0, 101, 20):
        x = left + tick / 100 * scale
        parts.append(draw_line("grid", x=(x, x), y=(top, bottom)))
        parts.append(draw_text(x, bottom + 15, f"{tick} %", "tick middle"))
    for number, shares in enumerate(rows.values()):
        for name, share in shares.items():
            y = top + number * height + 5 + _LINE * (names.index(name) + 0.5)
            ends = tuple(left + share[end] * scale for end in ("lower", "upper"))
            value = share["value"]
            told = "-" if value is None else f"{value:.1%}"
            dot = ""
            if value is not None:
                dot = f'<circle cx="{left + value * scale:.1f}" cy="{y:.1f}" r="4"/>'
            line = draw_line("whisker", x=(ends[0], ends[1]), y=(y, y))
            title = draw_title(f"{name}: {told} of {share['judged']}")
            parts.append(f'<g class="s{places[name] % SERIES}">{title}{line}{dot}</g>')
    return picture(width, bottom + 24, "Safety by task with 95 % intervals", parts)


def plot_counts(counts: Sequence[tuple[str, int]]) -> str:
    """Wins, ties, losses and errors as one bar.

    Args:
        counts: Each with its number, in the order of the bar.
    """
    total = sum(count for _, count in counts) or 1
    styles = {"wins": "right", "losses": "wrong"}
    width, at, parts = 766, 0.0, []
    for word, count in counts:
        share = width * count / total
        title, style = f"{word}: {count}", styles.get(word, "band")
        parts.append(draw_rect(style, x=at, y=0, width=share, height=22, title=title))
        if share > 60:
            parts.append(draw_text(at + 6, 15, title, "label"))
        at += share
    return picture(width, 24, "Wins, ties, losses and errors", parts)

"""What was found, as a file for programs and a page for people; written after every case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tools.gpu.session import Outcome

__all__ = ["Goal", "compare", "in_words", "page", "write"]

_SAME: Final = ("shape", "layers", "n", "images", "prompt", "response")
"""Settings of rows that are compared, beside those of the comparison."""


@dataclass(frozen=True)
class Goal:
    """A comparison of two rows.

    Attributes:
        name: What it says.
        value: The figure.
        least: What it should be at least; None: it is told only.
        beside: Another figure to look at it with, such as the ratio of tokens.
    """

    name: str
    value: float
    least: float | None = None
    beside: float | None = None


def compare(outcomes: Sequence[Outcome]) -> list[Goal]:
    """What follows from the rows that are there."""
    rows = [one for one in outcomes if one.state == "done" and "form" in one.settings]
    return [
        *_utilisation(rows),
        *_ragged(rows),
        *_against(rows, "pairwise"),
        *_against_trl(rows),
        *_formats(rows),
        *_settings(rows),
    ]


def _utilisation(rows: Sequence[Outcome]) -> Iterator[Goal]:
    for row in _of(rows, form="shared", kind="equal"):
        if row.figures["mfu"] is not None and row.settings["settings"]["recompute"] is None:
            yield Goal(f"share of the card's peak: {row.name}", row.figures["mfu"], 0.5)


def _ragged(rows: Sequence[Outcome]) -> Iterator[Goal]:
    """Operations a second against the same with equal lengths."""
    for row in _of(rows, form="shared"):
        if row.settings["kind"] == "equal":
            continue
        for other in _like(rows, row, "settings", form="shared", kind="equal"):
            value = row.figures["flops_per_s"] / other.figures["flops_per_s"]
            yield Goal(f"of equal lengths: {row.name}", value, 0.85)


def _against(rows: Sequence[Outcome], form: str) -> Iterator[Goal]:
    """Pairs a second against pairs with a prompt each, and the ratio of tokens that is saved."""
    for row in _of(rows, form="shared"):
        for other in _like(rows, row, "settings", "kind", form=form):
            ratio = _tokens_per_pair(other) / _tokens_per_pair(row)
            value = row.figures["pairs_per_s"] / other.figures["pairs_per_s"]
            yield Goal(f"times pairwise: {row.name}", value, ratio, ratio)


def _against_trl(rows: Sequence[Outcome]) -> Iterator[Goal]:
    """Pairs a second of whole steps against TRL at its best."""
    for row in _of(rows, form="step"):
        others = list(_like(rows, row, "settings", "kind", form="trl"))
        if others:
            best = max(others, key=lambda one: float(one.figures["pairs_per_s"]))
            ratio = _tokens_per_pair(best) / _tokens_per_pair(row)
            value = row.figures["pairs_per_s"] / best.figures["pairs_per_s"]
            yield Goal(
                f"times TRL: {row.name}", value, 10.0 if row.settings["images"] else ratio, ratio
            )


def _formats(rows: Sequence[Outcome]) -> Iterator[Goal]:
    """Tokens a second in bfloat16 against float32."""
    for row in _of(rows, form="shared"):
        for other in _like(rows, row, "kind", form="shared"):
            formats = [one.settings["settings"]["dtype"] for one in (row, other)]
            if formats == ["bfloat16", "float32"]:
                value = row.figures["tokens_per_s"] / other.figures["tokens_per_s"]
                yield Goal(f"times float32: {row.name}", value, 1.0)


def _settings(rows: Sequence[Outcome]) -> Iterator[Goal]:
    """Tokens a second, and memory, with a setting against the same without it."""
    for row in rows:
        for name, usual in (("attention", "proven"), ("compiled", False), ("lora", None)):
            without = {**row.settings["settings"], name: usual}
            if row.settings["settings"] == without:
                continue
            for other in _like(rows, row, "kind", "form", settings=without):
                for word, figure in (("speed", "tokens_per_s"), ("memory", "peak_bytes")):
                    value = row.figures[figure] / other.figures[figure]
                    yield Goal(f"{word} against {name} {usual}: {row.name}", value)


def _tokens_per_pair(row: Outcome) -> float:
    return float(sum(row.figures["tokens"]) / sum(row.figures["pairs"]))


def _of(rows: Sequence[Outcome], **settings: object) -> list[Outcome]:
    return [row for row in rows if all(row.settings[name] == one for name, one in settings.items())]


def _like(
    rows: Sequence[Outcome], row: Outcome, *same: str, **settings: object
) -> Iterator[Outcome]:
    """Others that are of the same in all that is named, and of these settings."""
    for other in _of(rows, **settings):
        if all(other.settings[name] == row.settings[name] for name in (*_SAME, *same)):
            yield other


def write(folder: Path, name: str, about: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Path:
    """Write ``NAME.json`` and ``NAME.md``; a reader sees a whole file or the one before."""
    goals = compare(outcomes)
    content = {
        **about,
        "cases": [asdict(one) for one in outcomes],
        "comparisons": [asdict(one) for one in goals],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    texts = {
        path: json.dumps(content, indent=1, allow_nan=False) + "\n",
        folder / f"{name}.md": page(about, outcomes),
    }
    for target, text in texts.items():
        partial = target.with_name(f".{target.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    return path


def page(about: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Tables of all that is there."""
    lines = [
        f"# {about['card']}, {about['started']}",
        "",
        f"Commit {about['commit']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + f"; {about['budget_s']:.0f} s at most. Rows of the forms step and trl are whole optimizer"
        " steps, the others forward and backward pass with the objective.",
        "",
        f"MFU counts {about['flops']}, over "
        + (f"{about['peak_tflops']:.0f} TFLOP/s." if about["peak_tflops"] else "no known peak."),
        "",
        "| row | tokens/s | pairs/s | MFU | peak | padding | attention |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = [one for one in outcomes if one.state == "done" and "form" in one.settings]
    lines += [_row(one) for one in rows]
    lines += ["", "| comparison | value | at least | token ratio |", "| --- | --- | --- | --- |"]
    for goal in compare(outcomes):
        mark = "" if goal.least is None or goal.value >= goal.least else " (not met)"
        lines.append(
            f"| {goal.name} | {goal.value:.2f}{mark} | {_number(goal.least)} |"
            f" {_number(goal.beside)} |"
        )
    lines += ["", "| check | state | figures |", "| --- | --- | --- |"]
    for one in outcomes:
        if "form" not in one.settings:
            lines.append(f"| {one.name} | {_state(one)} | {in_words(one.figures)} |")
    missing = [one for one in outcomes if one.state != "done" and "form" in one.settings]
    lines += ["", "| not measured | why |", "| --- | --- |"] if missing else []
    lines += [f"| {one.name} | {_state(one)} |" for one in missing]
    return "\n".join(lines) + "\n"


def _row(one: Outcome) -> str:
    figures = one.figures
    mfu = "" if figures["mfu"] is None else f"{100 * figures['mfu']:.1f} %"
    return (
        f"| {one.name} | {figures['tokens_per_s']:,.0f} | {figures['pairs_per_s']:.2f} | {mfu} |"
        f" {figures['peak_bytes'] / 1e9:.1f} GB | {100 * figures['padding']:.0f} % |"
        f" {figures['attention']} |"
    )


def in_words(figures: Mapping[str, Any]) -> str:
    """Figures in a line."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else format(value, '.3g')}"
        for name, value in figures.items()
    )


def _state(one: Outcome) -> str:
    word = "passed" if one.state == "done" else one.state
    reason = one.reason.replace("\n", " ").replace("|", "/")
    return f"{word}: {reason}" if reason else word


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

"""The report of one training run; what a run has not is left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_jobs.pages.charts import Line, plot_bars, plot_lines
from mmrlhf_jobs.pages.record import RunRecord, plain
from mmrlhf_jobs.pages.rendering import MAX_BYTES, drawn, render

__all__ = ["Sample", "number", "render_failure", "render_report", "summarise"]

_LONGEST: Final = 2000
"""Characters of a text; what is longer is cut, and says so."""
_LISTED: Final = 20
_BINS: Final = 10


@dataclass(frozen=True)
class Sample:
    """A query, and what the model made of it.

    Attributes:
        question: Its text.
        pictures: Data URLs of its media, made small.
        before: Answer before training.
        after: Answer after it.
    """

    question: str
    pictures: Sequence[str]
    before: str
    after: str


def render_report(run: RunRecord, *, samples: Sequence[Sample] = (), sample_tokens: int = 0) -> str:
    """The page of a run; equal inputs give equal bytes.

    Args:
        run: The run.
        samples: Queries with their answers.
        sample_tokens: Tokens after which answers were cut off.
    """
    measures = run.before_and_after()
    values = {
        "title": run.name,
        "lines": summarise(run),
        "charts": [*_charts(run), *_beta_chart(run)],
        "has_before": any(before is not None for _, before, _ in measures),
        "measures": [(name, number(one), number(other)) for name, one, other in measures],
        "sample_tokens": sample_tokens,
        "hardest": _hardest(run.manifest),
        **_disagreements(run.manifest),
    }
    shown = [
        Sample(_cut(one.question), one.pictures, _cut(one.before), _cut(one.after))
        for one in samples
    ]
    page = render("run.html", samples=shown, **values)
    if len(page.encode()) > MAX_BYTES:
        bare = [Sample(one.question, (), one.before, one.after) for one in shown]
        page = render("run.html", samples=bare, **values)
    return page


def render_failure(run: RunRecord, why: str) -> str:
    """The page of a run whose report could not be drawn."""
    lines = [
        f"The report could not be drawn: {_cut(why)}",
        "manifest.json and metrics.jsonl have the figures.",
    ]
    return render("base.html", title=run.name, lines=lines)


def summarise(run: RunRecord) -> list[str]:
    """What a run was, in sentences."""
    manifest, spec = run.manifest, run.spec
    kind = manifest["job"].get("kind", "job")
    data = manifest.get("data", {})
    attempts = manifest.get("attempts", [])
    lines = [
        (
            f"{kind} {run.name}: {manifest.get('steps', 0):,} steps on {data.get('rows', 0):,} rows"
            f" of {spec['data']['train']['uri']}, from the model {spec['model']['uri']}."
        ),
        (
            f"{manifest.get('processes', 1)} processes, engine {manifest.get('engine', 'unknown')},"
            f" seed {manifest.get('seed', 0)}, attempts: {len(attempts)}."
        ),
    ]
    trackers = {
        name: one["lost"] for name, one in manifest.get("trackers", {}).items() if one.get("lost")
    }
    lines += [f"{name} has not taken {lost} rows of the record." for name, lost in trackers.items()]
    if manifest.get("skippedSteps"):
        lines.append(f"{manifest['skippedSteps']} steps changed nothing: gradients overflowed.")
    return lines


def number(value: float | None) -> str:
    """A figure in a cell."""
    if value is None:
        return "-"
    if (float(value).is_integer() or abs(value) >= 1000) and abs(value) < 1e15:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:,.4g}".replace("-", "\N{MINUS SIGN}", 1 if value < 0 else 0)


def _charts(run: RunRecord) -> list[dict[str, Any]]:
    found = []
    for title, figures in run.charts():
        lines = [Line(plain(name), run.points(name), place) for place, name in enumerate(figures)]
        legend = [(line.colour, line.name) for line in lines] if len(lines) > 1 else []
        found.append({"title": title, "legend": legend, "drawing": drawn(plot_lines(lines, title))})
    return found


def _beta_chart(run: RunRecord) -> list[dict[str, Any]]:
    """The betas of all pairs, where they differ: by rewards as they are, or by steps."""
    rewards = run.manifest.get("rewards") or {}
    beta = run.spec.get("objective", {}).get("beta", {})
    edges: list[float] = []
    if beta.get("strategy") == "dynamic" and "betaHistogram" in rewards:
        edges, counts = rewards["betaHistogram"]["edges"], rewards["betaHistogram"]["counts"]
        title = "Beta of all pairs"
    elif beta.get("strategy") == "implicit":
        values = [value for _, value in run.points("beta")]
        low, high = min(values, default=0.0), max(values, default=0.0)
        edges = [low + (high - low) * place / _BINS for place in range(_BINS + 1)]
        width = (high - low) / _BINS or 1.0
        bins = Counter(min(_BINS - 1, math.floor((value - low) / width)) for value in values)
        counts = [bins[place] for place in range(_BINS)]
        title = "Mean beta of the steps"
    if len(edges) < 2 or edges[0] >= edges[-1] or not any(counts):
        return []
    return [{"title": title, "legend": [], "drawing": drawn(plot_bars(edges, counts, title))}]


def _hardest(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": str(one["row"]), "step": str(one["step"]), "loss": number(one["loss"])}
        for one in manifest.get("largestLosses", [])[:_LISTED]
    ]


def _disagreements(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Pairs that scores order against people: those trained on, or a reward model's held-out."""
    rewards = manifest.get("rewards") or {}
    if rewards:
        found = rewards.get("strongest", [])
        note = (
            f"The scores order {rewards['disagreement']:.1%} of {rewards['pairs']:,} pairs of the "
            "training data against their ranks; beta stays at its initial value there."
        )
    else:
        found = manifest.get("evaluation", {}).get("after", {}).get("wrong", [])
        note = "Held-out pairs, scored by the trained model."
    rows = [{**one, "margin": number(one["margin"])} for one in found[:_LISTED]]
    return {"against": rows, "against_note": note}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text):,} characters)"

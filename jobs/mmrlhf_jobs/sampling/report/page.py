"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Final

import numpy as np
import numpy.typing as npt

from mmrlhf_api.plain_text import make_html
from mmrlhf_jobs.sampling.losses import SourceLosses
from mmrlhf_jobs.sampling.report.charts import HUES, cluster_hue, plot_clusters, plot_map
from mmrlhf_jobs.sampling.report.table import notes
from mmrlhf_jobs.sampling.selection.statistics import Statistics

__all__ = ["ClusterView", "MediaMap", "render_page"]

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --paper: #fbfbfa; --ink: #1c1f23; --soft: #5d656f;
  --line: #d9dde2; --there: #cdd6e0; --taken: #2b7a78; --shade: 45%; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e8eaed; --soft: #9aa4b0; --line: #323941;
    --there: #3a444f; --taken: #5fb8b3; --shade: 65%; }
}
body { margin: 2rem auto; max-width: 64rem; padding: 0 1.25rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { color: var(--soft); margin: .25rem 0; max-width: 46rem; text-wrap: pretty; }
.lead { color: var(--ink); margin-bottom: .75rem; }
svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
.bars { position: relative; margin: .75rem 0 0; padding-left: calc(var(--gutter) + .5em);
  font-size: .75rem; line-height: 1.2; }
.bars svg { height: 11rem; }
.bars span { position: absolute; left: 0; width: var(--gutter); text-align: right;
  transform: translateY(-50%); color: var(--soft); font-variant-numeric: tabular-nums; }
.axis, .grid { stroke: var(--ink); vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); } .there { fill: var(--there); } .taken { fill: var(--taken); }
i { display: inline-block; width: .7em; height: .7em; border-radius: 2px; }
i.there { background: var(--there); } i.taken { background: var(--taken); }
.map { border: 1px solid var(--line); border-radius: .5rem; margin-top: .75rem; }
path { fill: none; stroke: currentColor; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.rest { stroke-width: 3; opacity: .3; } .dot { stroke-width: 6; opacity: .9; }
.few .rest { stroke-width: 6; opacity: .4; } .few .dot { stroke-width: 10; }
$colours
.clusters { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.cluster { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; min-width: 0; }
.cluster h3 { font-size: .9rem; margin: 0 0 .4rem; font-weight: 600; }
.cluster h3 span { color: var(--soft); font-weight: 400; }
.cluster h3::before { content: "\\25cf"; margin-right: .35em; }
.cluster h3 > * { color: var(--ink); }
.pictures { display: grid; gap: 3px; grid-template-columns: repeat(4, 1fr); }
.pictures img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 3px;
  display: block; }
.gone { aspect-ratio: 1; border: 1px dashed var(--line); border-radius: 3px; color: var(--soft);
  display: grid; font-size: .75rem; place-items: center; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="lead">$lead</p>
<p>$notes</p>
<h2>Types before and after</h2>
<div class="wide">$table</div>
$losses
<h2>Clusters</h2>
<p>The largest first: <i class="there"></i> candidates and <i class="taken"></i> what was selected
of them, on a scale of square roots.</p>
$bars
$map
<h2>Selected pictures nearest to each centre</h2>
<div class="clusters">$clusters</div>
</body>
</html>
""")

_GONE: Final = '<span class="gone" title="This picture was removed or changed since">gone</span>'


@dataclass(frozen=True)
class ClusterView:
    """A cluster on the page.

    Attributes:
        number: Its number.
        available: Candidates in it.
        selected: What was picked of them.
        thumbnails: Data URLs of pictures, the nearest to the centre first; None where one is gone.
    """

    number: int
    available: int
    selected: int
    thumbnails: Sequence[str | None] = ()


@dataclass(frozen=True)
class MediaMap:
    """Unique media in two dimensions; see :func:`~.charts.plot_map` for shapes."""

    points: npt.NDArray[np.floating]
    clusters: npt.NDArray[np.integer]
    selected: npt.NDArray[np.bool_]


def render_page(
    statistics: Statistics,
    clusters: Sequence[ClusterView],
    *,
    media_map: MediaMap | None = None,
    losses: Sequence[SourceLosses] = (),
    title: str = "Selection",
) -> str:
    """Render a selection.

    Args:
        statistics: Of all types.
        clusters: In the order of their numbers.
        media_map: Left out if None.
        losses: What became of the rows of each source.
        title: Heading of the page.
    """
    drawn = ""
    if media_map is not None and len(media_map.points):
        drawn = (
            "<h2>Map</h2><p>Each dot is a picture, near to those that look like it; the strong ones"
            f" were selected. Clusters have {HUES} colours in turn, the same as below.</p>"
            + plot_map(media_map.points, media_map.clusters, media_map.selected)
        )
    colours = "\n".join(
        f".h{hue} {{ color: hsl({hue * 360 // HUES} 60% var(--shade)); }}" for hue in range(HUES)
    )
    return _PAGE.substitute(
        title=make_html(title),
        lead=_lead(clusters),
        notes="<br>".join(make_html(f"{note}.") for note in notes(statistics)),
        colours=colours,
        table=_table(statistics),
        bars=plot_clusters([one.available for one in clusters], [one.selected for one in clusters]),
        map=drawn,
        losses=_losses(losses),
        clusters="".join(map(_cluster, sorted(clusters, key=lambda one: -one.available))),
    )


def _lead(clusters: Sequence[ClusterView]) -> str:
    available = sum(one.available for one in clusters)
    selected = sum(one.selected for one in clusters)
    return f"{selected:,} of {available:,} candidates were selected, from {len(clusters)} clusters."


def _table(statistics: Statistics) -> str:
    heads = ("type", "candidates", "in", "wanted", "selected", "out", "deviation", "plain N = T/k")
    rows = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for name, one in statistics.types.items():
        cells = (
            make_html(name),
            f"{one.available:,}",
            f"{one.share_in:.2%}",
            f"{one.wanted:,}",
            f"{one.selected:,}",
            f"{one.share_out:.2%}",
            f"{one.deviation:+.2%}",
            f"{one.plain:,} ({one.plain_deviation:+.1%})",
        )
        row = "".join(f"<td>{cell}</td>" for cell in cells).replace("-", "\N{MINUS SIGN}")
        rows.append(f"<tr>{row}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _losses(losses: Sequence[SourceLosses]) -> str:
    if not losses:
        return ""
    rows = ["<tr><th>source</th><th>rows</th><th>candidates</th><th>left out</th></tr>"]
    for one in losses:
        why = ", ".join(f"{number:,} {reason}" for reason, number in one.ordered()) or "none"
        cells = (make_html(one.source), f"{one.rows:,}", f"{one.kept:,}", make_html(why))
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f'<h2>Sources</h2><div class="wide"><table>{"".join(rows)}</table></div>'


def _cluster(cluster: ClusterView) -> str:
    pictures = "".join(
        f'<img src="{make_html(url)}" alt="" loading="lazy">' if url else _GONE
        for url in cluster.thumbnails
    )
    return (
        f'<section class="cluster"><h3 class="h{cluster_hue(cluster.number)}">'
        f"<b>Cluster {cluster.number}</b>"
        f" <span>{cluster.selected:,} of {cluster.available:,} selected</span></h3>"
        f'<div class="pictures">{pictures}</div></section>'
    )

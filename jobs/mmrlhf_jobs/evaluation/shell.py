"""The page that reports stand on: one HTML file that needs nothing else.

No script, no font, no network; light and dark as the reader's system is.
"""

from __future__ import annotations

from string import Template
from typing import Final

from mmrlhf_api.plain_text import make_html
from mmrlhf_jobs.evaluation.rewardbench.plots import SERIES

__all__ = ["legend", "render_shell"]

_SHELL: Final = Template("""<!doctype html>
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
$body</body>
</html>
""")


def render_shell(title: str, body: str) -> str:
    """A whole page.

    Args:
        title: Its title and heading, as plain text.
        body: What stands below the heading, as HTML.
    """
    colours = "\n".join(f".s{n} {{ color: var(--s{n}); }}" for n in range(SERIES))
    return _SHELL.substitute(title=make_html(title), colours=colours, body=body)


def legend(names: list[str]) -> str:
    """Names of models, each in its colour; empty of one alone."""
    if len(names) < 2:
        return ""
    spans = "".join(
        f'<span class="s{place % SERIES}">{make_html(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<div class="legend">{spans}</div>'

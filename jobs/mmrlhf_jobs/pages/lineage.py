"""Where something comes from, as a page: the graph from above, and all of it as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mmrlhf_api.lineage import Edge, Graph, Node, State
from mmrlhf_jobs.pages.layers import Layout, lay_out
from mmrlhf_jobs.pages.rendering import drawn, render
from mmrlhf_jobs.pages.svg import draw_rect, draw_route, draw_text, picture

__all__ = ["render_lineage"]

_WIDTH: Final = 236
_PORT: Final = 18
_HEAD: Final = 58
_LETTERS: Final = 36
"""That fit into a box."""
_STYLES: Final[Mapping[State, str]] = {
    State.SAME: "kept",
    State.CHANGED: "lost",
    State.GONE: "lost",
    State.UNREAD: "open",
    State.UNKNOWN: "open",
}

_LOST: Final = {State.CHANGED, State.GONE}


def render_lineage(graph: Graph) -> str:
    """The page."""
    root = graph.nodes[graph.root]
    counts = graph.states()
    runs = sum(node.what == "run" for node in graph.nodes.values())
    lines = [
        f"{len(graph.nodes)} nodes, {runs} of them runs, and {len(graph.edges)} inputs: "
        + (", ".join(f"{count} {state}" for state, count in counts.items()) or "none"),
        "Each arrow leads from what was made to what it was made from, by the field that names it.",
    ]
    drawing, width = _draw(graph)
    return render(
        "lineage.html",
        title=f"Where {root.title} comes from",
        lines=lines,
        drawing=drawn(drawing),
        width=width,
        edges=[
            {
                "made": graph.nodes[edge.made].title,
                "role": edge.role,
                "origin": graph.nodes[edge.origin].title,
                "state": f"{edge.state}{': ' + edge.note if edge.note else ''}",
                "digest": edge.digest or "no digest",
                "lost": edge.state in _LOST,
                "uri": edge.uri,
            }
            for edge in graph.edges
        ],
        nodes=[
            {
                "title": node.title,
                "uri": node.uri,
                "facts": node.facts,
                "notes": node.notes,
            }
            for node in graph.nodes.values()
        ],
    )


def _draw(graph: Graph) -> tuple[str, int]:
    ahead = {uri: [edge.origin for edge in graph.origins(uri)] for uri in graph.nodes}
    sizes = {uri: (_WIDTH, _HEAD + _PORT * len(ahead[uri])) for uri in graph.nodes}
    layout = lay_out(graph.root, ahead, sizes)
    parts = [part for uri in graph.nodes for part in _arrows(graph, uri, layout)]
    for uri, node in graph.nodes.items():
        lost = bool(_LOST & {edge.state for edge in graph.edges if edge.origin == uri})
        parts += _box(node, layout, graph.origins(uri), lost=lost)
    label = f"Where {graph.nodes[graph.root].title} comes from"
    return picture(layout.width, layout.height, label, parts), layout.width


def _arrows(graph: Graph, uri: str, layout: Layout) -> list[str]:
    x, y = layout.corners[uri]
    parts = []
    for number, edge in enumerate(graph.origins(uri)):
        right = layout.leads_right(uri, number)
        start = (x + _WIDTH if right else x, y + _HEAD + _PORT * number)
        told = (
            f"{edge.role}: {graph.nodes[edge.origin].title}, {edge.state}; {edge.uri};"
            f" {edge.digest or 'no digest'}"
        )
        side = 14 if right else -14
        route = layout.routes[uri][number]
        if x - 14 < route[0][0] < x + _WIDTH + 14:  # below its own box: first past that
            beside = start[0] + side
            route = [(beside, y + _HEAD + _PORT * len(graph.origins(uri))), *route]
        parts.append(draw_route(_STYLES[edge.state], start, route, bend=side, title=told))
    return parts


def _box(node: Node, layout: Layout, made_from: Sequence[Edge], *, lost: bool) -> Sequence[str]:
    x, y = layout.corners[node.uri]
    height = _HEAD + _PORT * len(made_from)
    kind, _, name = node.title.rpartition(" ")
    facts = dict(node.facts)
    about = facts.get("verdict") or facts.get("by") or facts.get("ended") or facts.get("files", "")
    if node.what == "source":
        about = f"{about} files" if about not in ("", "1") else "no run made it"
    style = f"box {node.what}{' lost' if lost else ''}"
    words = "; ".join([node.uri, *(f"{one}: {value}" for one, value in node.facts), *node.notes])
    ports = []
    for number, edge in enumerate(made_from):
        right = layout.leads_right(node.uri, number)
        end = (x + _WIDTH - 8, "end") if right else (x + 10, "")
        ports.append(draw_text(end[0], y + _HEAD + _PORT * number + 4, _short(edge.role), end[1]))
    return (
        draw_rect(style, x=x, y=y, width=_WIDTH, height=height, title=words),
        draw_text(x + 10, y + 17, _short(kind or node.what), ""),
        draw_text(x + 10, y + 32, _short(name), "name"),
        draw_text(x + 10, y + 46, _short(about), ""),
        *ports,
    )


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"

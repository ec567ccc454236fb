"""Where something comes from, as a tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from mmrlhf_api.lineage import Edge, Graph, Node, State
from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.text.table import Style, paint

__all__ = ["lineage_lines", "lineage_object"]

_STYLES: Final[Mapping[State, Style]] = {
    State.SAME: Style.GOOD,
    State.CHANGED: Style.BAD,
    State.GONE: Style.BAD,
}
_DIGITS: Final = 12


def lineage_lines(graph: Graph, *, colours: bool) -> list[str]:
    """Return the tree: what was made stands above what it was made from.

    What several runs were made from has its own origins below the first of them.
    """
    root = graph.nodes[graph.root]
    lines = [make_safe(root.title), make_safe(f"at {root.uri}")]
    lines += [make_safe(f"{name}: {value}") for name, value in root.facts]
    lines += [*_notes(root, colours=colours), ""]
    shown = {graph.root}

    def visit(uri: str, indent: str) -> None:
        found = graph.origins(uri)
        for position, edge in enumerate(found):
            last = position == len(found) - 1
            node = graph.nodes[edge.origin]
            again = edge.origin in shown and node.what == "run"
            text = _edge(edge, node, again=again, colours=colours)
            lines.append(f"{indent}{'└─ ' if last else '├─ '}{text}")
            further = indent + ("   " if last else "│  ")
            if edge.origin not in shown:
                shown.add(edge.origin)
                lines.extend(f"{further}{note}" for note in _notes(node, colours=colours))
                visit(edge.origin, further)

    visit(graph.root, "")
    if not graph.edges:
        lines.append("its record names no inputs")
    counts = ", ".join(f"{count} {state}" for state, count in graph.states().items())
    return [*lines, *([] if not graph.edges else ["", f"{len(graph.edges)} inputs: {counts}"])]


def lineage_object(graph: Graph) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "root": graph.root,
        "nodes": [asdict(node) | {"facts": dict(node.facts)} for node in graph.nodes.values()],
        "edges": [asdict(edge) for edge in graph.edges],
    }


def _edge(edge: Edge, node: Node, *, again: bool, colours: bool) -> str:
    state = paint(str(edge.state), _STYLES.get(edge.state, Style.IDLE), colours=colours)
    title = node.title if node.what == "run" else edge.uri
    digest = (edge.digest or "no digest")[:_DIGITS]
    parts = [make_safe(f"{edge.role}: {title}"), make_safe(digest), state]
    if edge.note:
        parts.append(paint(edge.note, Style.NONE, colours=colours))
    if again:
        parts.append("(see above)")
    return "  ".join(parts)


def _notes(node: Node, *, colours: bool) -> list[str]:
    return [paint(f"note: {note}", Style.NONE, colours=colours) for note in node.notes]

"""A graph in layers from above: each node below all that lead to it, lines past what lies between.

After Sugiyama, Tagawa and Toda (1981), as simple as it can be: layers by the longest way from the
root; a line that passes a layer has a place of its own in it; the order within a layer is by the
middle of what lies above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Layout", "lay_out"]

_BESIDE: Final = 30
_BELOW: Final = 46
_LINE: Final = 20
_EDGE: Final = 14

Point = tuple[float, float]
_Key = tuple[str, int, int] | str
"""A node, or the line of a node, by its number, where it passes a layer."""


@dataclass(frozen=True)
class Layout:
    """Where everything is, in units of the drawing.

    Attributes:
        width: Of all of it.
        height: Likewise.
        corners: Upper left corner of each node.
        routes: Of each node, by the order of what it leads to: the points that the line passes, the
            last of which is above the middle of its end.
        middles: Middle of each node, across.
    """

    width: int
    height: int
    corners: Mapping[str, Point]
    routes: Mapping[str, Sequence[Sequence[Point]]]
    middles: Mapping[str, float]

    def leads_right(self, node: str, number: int) -> bool:
        """Whether a line of a node begins to the right of it."""
        return self.routes[node][number][0][0] >= self.middles[node]


@dataclass
class _Place:
    """A node in its layer, or a line that passes it."""

    key: _Key
    width: float
    above: list[_Place]
    x: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def lay_out(
    root: str, ahead: Mapping[str, Sequence[str]], sizes: Mapping[str, tuple[float, float]]
) -> Layout:
    """Place the nodes of a graph that are below a root.

    Args:
        root: The node at the top.
        ahead: What each node leads to; circles are allowed, and closed by a line upwards.
        sizes: Width and height of each node.
    """
    order = _order(root, ahead)
    level = _levels(order, ahead)
    rows: list[list[_Place]] = [[] for _ in range(max(level.values()) + 1)]
    placed: dict[_Key, _Place] = {}

    def put(key: _Key, depth: int, width: float, above: _Place | None) -> None:
        if key not in placed:
            placed[key] = _Place(key, width, [])
            rows[depth].append(placed[key])
        if above is not None:
            placed[key].above.append(above)

    put(root, 0, sizes[root][0], None)
    for uri in order:
        for number, one in enumerate(ahead[uri]):
            before = placed[uri]
            for depth in range(level[uri] + 1, level[one]):
                put((uri, number, depth), depth, _LINE, before)
                before = placed[uri, number, depth]
            if level[one] > level[uri]:
                put(one, level[one], sizes[one][0], before)
    width = max(sum(one.width + _BESIDE for one in row) for row in rows)
    tops, y = [], float(_EDGE)
    for row in rows:
        row.sort(key=lambda one: sum(up.middle for up in one.above) / max(1, len(one.above)))
        x = _EDGE + (width - sum(one.width + _BESIDE for one in row) + _BESIDE) / 2
        for place in row:
            place.x = x
            x += place.width + _BESIDE
        tops.append(y)
        y += max((sizes[one.key][1] for one in row if isinstance(one.key, str)), default=0) + _BELOW
    routes: dict[str, list[list[Point]]] = {}
    for uri in order:
        routes[uri] = []
        for number, one in enumerate(ahead[uri]):
            points: list[Point] = []
            for depth in range(level[uri] + 1, level[one]):
                middle = placed[uri, number, depth].middle
                points += [(middle, tops[depth]), (middle, tops[depth + 1] - _BELOW)]
            routes[uri].append([*points, (placed[one].middle, tops[level[one]])])
    return Layout(
        width=round(width + 2 * _EDGE),
        height=round(y - _BELOW + 2 * _EDGE),
        corners={uri: (placed[uri].x, tops[level[uri]]) for uri in order},
        routes=routes,
        middles={uri: placed[uri].middle for uri in order},
    )


def _order(root: str, ahead: Mapping[str, Sequence[str]]) -> list[str]:
    """Nodes so that each comes before what it leads to, but where a circle closes."""
    done, found, waiting = {root}, list[str](), [(root, iter(ahead[root]))]
    while waiting:
        uri, rest = waiting[-1]
        further = next((one for one in rest if one not in done), None)
        if further is None:
            found.append(uri)
            waiting.pop()
        else:
            done.add(further)
            waiting.append((further, iter(ahead[further])))
    return found[::-1]


def _levels(order: Sequence[str], ahead: Mapping[str, Sequence[str]]) -> dict[str, int]:
    place = {uri: number for number, uri in enumerate(order)}
    level = dict.fromkeys(order, 0)
    for uri in order:
        for one in ahead[uri]:
            if place[one] > place[uri]:
                level[one] = max(level[one], level[uri] + 1)
    return level

"""The page of where something comes from, and how its graph is laid out."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from mmrlhf_api.lineage import Edge, Graph, Node, State
from mmrlhf_jobs.pages.layers import lay_out
from mmrlhf_jobs.pages.lineage import render_lineage
from tests.unit.pages.graphs import GRAPH


def test_the_page_shows_each_node_and_edge_once_and_escapes_what_it_is_told() -> None:
    page = render_lineage(GRAPH)
    assert page == render_lineage(GRAPH)
    assert len(re.findall('<rect class="box', page)) == len(GRAPH.nodes)
    styles = re.findall('<path class="([a-z]+)"', page)
    assert len(styles) == len(GRAPH.edges)
    assert (styles.count("lost"), styles.count("open")) == (3, 3)
    assert "19 inputs: 13 same, 2 changed since, 1 gone, 2 not read, 1 unknown" in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for edge in GRAPH.edges:
        assert edge.digest is None or edge.digest in page


def test_nodes_stand_below_all_that_lead_to_them_and_none_lies_on_another() -> None:
    ahead = {uri: [edge.origin for edge in GRAPH.origins(uri)] for uri in GRAPH.nodes}
    sizes = {uri: (236.0, 58.0 + 18 * len(ahead[uri])) for uri in GRAPH.nodes}
    layout = lay_out(GRAPH.root, ahead, sizes)
    boxes = {uri: (*layout.corners[uri], *sizes[uri]) for uri in GRAPH.nodes}
    for uri, others in ahead.items():
        for number, other in enumerate(others):
            assert boxes[other][1] > boxes[uri][1] + boxes[uri][3]
            route = layout.routes[uri][number]
            assert route[-1] == (layout.middles[other], boxes[other][1])
            assert all(y < to_y for (_, y), (_, to_y) in pairwise(route))
            for (x, y), (to_x, to_y) in pairwise(route[:-1]):
                if x == to_x:  # past a layer: through no box of it
                    assert not any(
                        left < x < left + width and top < to_y and y < top + height
                        for left, top, width, height in boxes.values()
                    )
    for one, (x, y, width, height) in boxes.items():
        assert 0 <= x <= x + width <= layout.width
        assert 0 <= y <= y + height <= layout.height
        for other, (left, top, _, tall) in boxes.items():
            if one < other:
                assert abs(x - left) >= width or y + height <= top or top + tall <= y


def test_a_node_is_below_the_longest_way_to_it() -> None:
    ahead = {"r": ["x", "a"], "x": ["c"], "a": ["b"], "b": ["c"], "c": list[str]()}
    layout = lay_out("r", ahead, dict.fromkeys(ahead, (10.0, 10.0)))
    tops = {name: y for name, (_, y) in layout.corners.items()}
    assert tops["r"] < tops["a"] == tops["x"] < tops["b"] < tops["c"]


@pytest.mark.parametrize(
    "circle", [{"a": ["b"], "b": ["a"]}, {"a": ["a"]}, {"a": ["b", "b"], "b": []}]
)
def test_circles_and_two_edges_to_one_node_are_drawn(circle: dict[str, list[str]]) -> None:
    nodes = {name: Node(name, "run", f"Kind {name}") for name in circle}
    edges = [
        Edge(made, other, f"f{n}", other, "0" * 64, State.SAME)
        for made, others in circle.items()
        for n, other in enumerate(others)
    ]
    page = render_lineage(Graph("a", nodes, tuple(edges)))
    assert page.count("<path ") == len(edges)


def test_what_names_nothing_is_a_page_too() -> None:
    page = render_lineage(Graph("a", {"a": Node("a", "run", "StepJob x/y")}, ()))
    assert "0 inputs: none" in page
    assert "Its record names nothing." in page

"""Charts: points stand where they belong, however many there are."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from mmrlhf_jobs.pages.charts import Line, plot_bars, plot_lines, thin


def parse(svg: str) -> ET.Element:
    """A drawing as XML."""
    return ET.fromstring(svg)


def labels(svg: str) -> list[tuple[str, float, float]]:
    return [
        (one.text or "", float(one.attrib["x"]), float(one.attrib["y"]))
        for one in parse(svg).iter("text")
    ]


def test_a_line_meets_its_ticks() -> None:
    svg = plot_lines([Line("loss", [(step, step / 10) for step in range(101)])], "Loss")
    (path,) = parse(svg).iter("path")
    points = [tuple(map(float, pair.split())) for pair in path.attrib["d"][1:].split("L")]
    across = {text: x for text, x, y in labels(svg) if y > 180}
    up = {text: y - 4 for text, x, y in labels(svg) if y < 180}
    # The value is a tenth of the step: where the line is at a tick of one, it is at that of both.
    for step, value in (("20", "2"), ("40", "4"), ("80", "8")):
        if value in up:
            near = min(points, key=lambda point: abs(point[0] - across[step]))
            assert near[1] == pytest.approx(up[value], abs=0.2)
    assert len(up) >= 3
    assert points[0][1] > points[-1][1], "larger values stand higher"


def test_many_points_are_averaged_and_none_is_lost() -> None:
    points = [(float(step), math.sin(step)) for step in range(1, 10_001)]
    found = thin(points)
    assert len(found) <= 300
    assert found[-1][0] == 10_000
    size = 34
    assert found[0][0] == 34
    assert found[0][1] == pytest.approx(sum(y for _, y in points[:size]) / size)
    assert thin(points[:300]) == points[:300]


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-1e-9, 1e-9], [1e12, -1e12], [0.0] * 3])
def test_any_values_can_be_drawn(values: list[float]) -> None:
    svg = plot_lines([Line("x", list(enumerate(values))), Line("none", [])], "x")
    root = parse(svg)
    assert len(list(root.iter("path"))) + len(list(root.iter("circle"))) == 1
    assert "nan" not in svg
    for number in re.findall(r'[xy][12]?="(-?[\d.]+)"', svg):
        assert -20 <= float(number) <= 440


def test_bars_have_the_heights_of_their_counts() -> None:
    svg = plot_bars([0.1, 0.2, 0.4], [10, 5], "Beta")
    first, second = (
        (float(bar.attrib["width"]), float(bar.attrib["height"])) for bar in parse(svg).iter("rect")
    )
    assert first[1] == pytest.approx(2 * second[1], abs=0.2)
    assert second[0] + 2 == pytest.approx(2 * (first[0] + 2), abs=0.3)


def test_names_of_lines_are_text() -> None:
    svg = plot_lines([Line("<script>x</script>", [(0, 1), (1, 2)])], '"><script>')
    assert "<script" not in svg
    assert parse(svg).attrib["aria-label"] == '"><script>'

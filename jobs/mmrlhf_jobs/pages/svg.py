"""Elements of inline SVG; colours and fonts come from the page's style sheet, by class."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_api.plain_text import make_html

__all__ = ["draw_line", "draw_rect", "draw_route", "draw_text", "draw_title", "picture"]


def draw_line(style: str, *, x: tuple[float, float], y: tuple[float, float]) -> str:
    """A line from the first to the second of both coordinates."""
    return (
        f'<line class="{style}" x1="{_n(x[0])}" x2="{_n(x[1])}" y1="{_n(y[0])}" y2="{_n(y[1])}"/>'
    )


def draw_route(
    style: str,
    start: tuple[float, float],
    route: Sequence[tuple[float, float]],
    *,
    bend: float,
    title: str,
) -> str:
    """A curve downwards from a side through points.

    Args:
        style: Its class.
        start: Where it begins.
        route: Through what points it goes, in turn; each is passed from above.
        bend: How far it leaves sideways, to the right if positive.
        title: What shows under the mouse.
    """
    (x, y), ahead = start, bend
    course = [f"M{_n(x)} {_n(y)}"]
    for to_x, to_y in route:
        level = _n(y) if ahead else _n(y + (to_y - y) / 2)
        course.append(
            f"C{_n(x + ahead)} {level} {_n(to_x)} {_n(to_y - (to_y - y) / 2)} {_n(to_x)} {_n(to_y)}"
        )
        x, y, ahead = to_x, to_y, 0
    return f'<path class="{style}" d="{"".join(course)}">{draw_title(title)}</path>'


def draw_rect(
    style: str, *, x: float, y: float, width: float, height: float, title: str = ""
) -> str:
    """A rectangle from its upper left corner; its title shows under the mouse."""
    shape = (
        f'<rect class="{style}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    )
    return f"{shape}>{draw_title(title)}</rect>" if title else f"{shape}/>"


def draw_text(x: float, y: float, content: str, style: str) -> str:
    """A line of text whose base line is at y."""
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}">{make_html(content)}</text>'


def draw_title(content: str) -> str:
    """What shows under the mouse, first in the element it belongs to."""
    return f"<title>{make_html(content)}</title>"


def picture(
    width: float, height: float, label: str, parts: Sequence[str], *, stretch: bool = False
) -> str:
    """The whole drawing.

    Args:
        width: In the units of its parts.
        height: Likewise.
        label: What it shows, for those who do not see it.
        parts: Its elements; later ones lie on top.
        stretch: Whether it fills its place in both directions instead of keeping its shape.
    """
    how = ' preserveAspectRatio="none"' if stretch else ""
    return (
        f'<svg viewBox="0 0 {width} {height}"{how} role="img" aria-label="{make_html(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _n(value: float) -> str:
    """A tenth of a unit is finer than any screen."""
    return f"{value:.1f}".removesuffix(".0")

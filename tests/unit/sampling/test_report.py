from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaRef
from mmrlhf_jobs.sampling.report.page import ClusterView, MediaMap, render_page
from mmrlhf_jobs.sampling.report.table import notes, type_table
from mmrlhf_jobs.sampling.report.thumbnails import read_thumbnails, thumbnail
from mmrlhf_jobs.sampling.selection.statistics import (
    Evenness,
    Statistics,
    TypeStatistics,
    paper_deviation,
)


def statistics(**changes: int) -> Statistics:
    deviation = paper_deviation()
    total_in, total_out = 1217 + 8368 + 414, sum(found for found, _, _ in deviation.values())
    available = {"long": 1217, "short": 8368, "mcq": 414}
    types = {
        name: TypeStatistics(
            available=available[name],
            share_in=available[name] / total_in,
            wanted=wanted,
            selected=found,
            share_out=found / total_out,
            deviation=off,
            missing=changes.get(name, 0),
            level=3,
            saturated=0,
            plain=wanted // 2,
            plain_deviation=-0.5,
        )
        for name, (found, wanted, off) in deviation.items()
    }
    even = Evenness(2.0, 0.1)
    return Statistics(3, types, even, even, even)


def test_the_table_does_the_arithmetic_of_table_1() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(type_table(statistics()))
    text = console.export_text()
    rows = {line.split()[1]: line for line in text.splitlines() if re.match(r"^│ \w", line)}
    assert "12.17%" in rows["long"]
    assert "9,575" in rows["long"]
    assert "9,505" in rows["long"]
    assert "+0.74%" in rows["long"]
    assert "-10.56%" in rows["mcq"]
    assert "50.76%" in rows["short"]


def test_a_shortfall_is_told() -> None:
    assert "mcq: 7 records are missing in the corpora" in notes(statistics(mcq=7))


class Checker(HTMLParser):
    """Raises for tags that do not match, and collects what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "rect", "line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "path"):
            assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing() -> None:
    picture = thumbnail(Image.new("RGB", (300, 200), (10, 200, 30)))
    views = [ClusterView(n, 10 * n, n, [picture] * n) for n in range(3)]
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    media_map = MediaMap(points, np.array([0, 1, 14]), np.array([True, False, True]))
    page = render_page(statistics(), views, media_map=media_map, title="<b>Photos & more</b>")
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert len(checker.links) == 3
    assert all(link.startswith("data:image/jpeg") for link in checker.links)
    assert "&lt;b&gt;Photos &amp; more&lt;/b&gt;" in page
    assert page.count('class="dot h') == 2
    assert page.count('class="rest h1"') == 1
    assert "cluster 2: 2 of 20 selected" in page
    assert "$" not in page


def test_a_page_without_a_map_or_clusters_is_whole() -> None:
    checker = Checker()
    checker.feed(render_page(statistics(), []))
    assert not checker.open


@pytest.mark.parametrize("size", [(300, 200), (10, 500)])
def test_a_thumbnail_is_a_square_from_the_middle(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (255, 0, 0))
    edge = min(size)
    left, top = (size[0] - edge) // 2, (size[1] - edge) // 2
    picture.paste((0, 0, 255), (left, top, left + edge, top + edge))
    url = thumbnail(picture, side=32)
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as small:
        assert small.size == (32, 32)
        low, high = np.asarray(small.convert("RGB")).astype(int)[:, :, 0].min(), 60
        assert low < high
        assert np.asarray(small.convert("RGB"))[:, :, 2].min() > 200


def test_pictures_that_are_gone_or_others_by_now_have_no_thumbnail(tmp_path: Path) -> None:
    refs = {}
    for red, name in enumerate(("here", "gone", "other")):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (200, 100), (red, 9, 9)).save(path)
        refs[hashlib.sha256(path.read_bytes()).digest()] = MediaRef(str(path))
    (tmp_path / "gone.png").unlink()
    Image.new("RGB", (200, 100)).save(tmp_path / "other.png")
    found = read_thumbnails(refs, MediaReader())
    by_name = {Path(ref.uri).stem: found[digest] for digest, ref in refs.items()}
    assert (by_name["gone"], by_name["other"]) == (None, None)
    assert (by_name["here"] or "").startswith("data:image/jpeg;base64,")
    page = render_page(statistics(), [ClusterView(0, 3, 3, list(by_name.values()))])
    assert (page.count("<img "), page.count('<span class="gone"')) == (1, 2)

"""The pages for those who change the project name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATH = re.compile(r"`((?:crds|jobs|sdk|operator|cli|tests|tools|images|examples|docs)/[\w./-]+)`")


def named(page: str) -> set[str]:
    return set(PATH.findall((ROOT / page).read_text()))


def test_paths_are_found_in_text() -> None:
    assert PATH.findall("`jobs/a/b.py` and `docs/x.md`, not `a/b`") == ["jobs/a/b.py", "docs/x.md"]


@pytest.mark.parametrize("page", ["docs/extending.md", "CONTRIBUTING.md"])
def test_every_path_is_there(page: str) -> None:
    assert {path for path in named(page) if not (ROOT / path).exists()} == set()


def test_each_sort_of_extension_has_its_files() -> None:
    text = (ROOT / "docs/extending.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    assert {"A model family", "A kind", "A step", "An objective", "An importer"} <= set(sections)
    assert all(PATH.search(body) for body in sections.values())

"""The base model of the alignment test is made anew when, and only when, its code does else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.jobs.examples.base import code_digest, digests, find_base

CODE = '''"""What it is."""

# why
RATE = 0.1
"""Per step."""


def run() -> float:
    """Go."""
    return RATE
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "code.py").write_text(CODE)
    (root / "constraints.txt").write_text("torch==2\n")
    kept = tmp_path / "cache" / "0123"
    kept.mkdir(parents=True)
    (kept / "made-by.json").write_text(
        json.dumps(digests(["code.py", "constraints.txt"], root=root))
    )
    return root


def test_the_same_tree_finds_it(tree: Path, tmp_path: Path) -> None:
    found = find_base(tmp_path / "cache", root=tree)
    assert found is not None
    assert found.name == "0123"


def test_words_do_not_matter(tree: Path, tmp_path: Path) -> None:
    other = CODE.replace("What it is", "Other words").replace("# why\n", "").replace("Go.", "Run.")
    (tree / "code.py").write_text(other)
    assert find_base(tmp_path / "cache", root=tree) is not None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("code.py", CODE.replace("0.1", "0.2")),
        ("code.py", CODE.replace("return RATE", "return RATE + 0")),
        ("constraints.txt", "torch==3\n"),
        ("code.py", None),
    ],
)
def test_anything_else_makes_it_anew(
    tree: Path, tmp_path: Path, name: str, content: str | None
) -> None:
    if content is None:
        (tree / name).unlink()
    else:
        (tree / name).write_text(content)
    assert find_base(tmp_path / "cache", root=tree) is None


def test_a_function_of_words_alone_is_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('def run() -> None:\n    """Go."""\n')
    (tmp_path / "b.py").write_text('def walk() -> None:\n    """Go."""\n')
    assert code_digest(tmp_path / "a.py") != code_digest(tmp_path / "b.py")

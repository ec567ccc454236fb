"""The base model of the alignment test is made anew when, and only when, it would be another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.examples import base
from tests.jobs.examples.base import code_digest, digests, find_base, make_base

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
    (kept / "rehearsal.json").write_text('{"inputs": "same"}')
    return root


@pytest.fixture
def make(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Finds or makes a base model where a rehearsal would show this; returns what was done."""

    def make(*, inputs: str = "same") -> list[str]:
        done: list[str] = []

        def run(action: str, folder: Path, root: Path) -> None:
            done.append(action)
            if action == "rehearse":
                folder.mkdir()
                names = ["code.py", "constraints.txt"]
                (folder / "made-by.json").write_text(json.dumps(digests(names, root=root)))
                (folder / "rehearsal.json").write_text(json.dumps({"inputs": inputs}))

        monkeypatch.setattr(base, "_run", run)
        found = make_base(tree.parent / "cache", root=tree)
        assert find_base(tree.parent / "cache", root=tree) == found
        assert not list((tree.parent / "cache").glob(".arriving*"))
        return done

    return make


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


def test_other_code_with_the_same_rehearsal_keeps_it_and_is_not_asked_again(
    tree: Path, make: Callable[..., list[str]]
) -> None:
    assert make() == []
    (tree / "code.py").write_text(CODE.replace("return RATE", "return RATE + 0"))
    assert make() == ["rehearse"]
    assert make() == []


def test_another_rehearsal_makes_it_anew(tree: Path, make: Callable[..., list[str]]) -> None:
    (tree / "code.py").write_text(CODE.replace("0.1", "0.2"))
    assert make(inputs="other") == ["rehearse", "teach"]
    assert make() == []


def test_other_lessons_make_it_anew_whatever_they_begin_with(
    tree: Path, make: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LESSONS", ("code.py",))
    (tree / "code.py").write_text(CODE.replace("0.1", "0.2"))
    assert make() == ["rehearse", "teach"]


def test_a_library_more_that_it_does_not_load_keeps_it(
    tree: Path, make: Callable[..., list[str]]
) -> None:
    (tree / "constraints.txt").write_text("torch==2\nother==1\n")
    assert make() == ["rehearse"]


def test_one_without_a_rehearsal_is_not_taken(tree: Path, make: Callable[..., list[str]]) -> None:
    (tree.parent / "cache" / "0123" / "rehearsal.json").unlink()
    assert make() == ["rehearse", "teach"]


def test_what_a_killed_run_left_is_removed(tree: Path, make: Callable[..., list[str]]) -> None:
    (tree.parent / "cache" / ".arriving.1").mkdir()
    (tree / "constraints.txt").write_text("torch==3\n")
    make(inputs="other")
    assert not (tree.parent / "cache" / ".arriving.1").exists()

"""The figures of the tree, on a tree small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.imports import Tree, circles
from tools.reach import reached_files
from tools.structure import ROOT, TRAILS, _layers, upward

FILES = {
    "__init__.py": "",
    "top/__init__.py": "",
    "top/start.py": """
from mmrlhf_jobs.low.engine import Engine
from mmrlhf_jobs.low import words
def start(engine: Engine) -> None:
    engine.turn()
    words.say()
def unused() -> None:
    from mmrlhf_jobs.top.never import never
    never()
""",
    "top/never.py": "def never() -> None: ...\n",
    "low/__init__.py": "",
    "low/engine.py": """
class Engine:
    def turn(self) -> None:
        from mmrlhf_jobs.low.wheel import roll
        roll()
    def stop(self) -> None:
        from mmrlhf_jobs.top.start import start
        start(self)
""",
    "low/wheel.py": "from mmrlhf_jobs.low.words import say\ndef roll() -> None: ...\n",
    "low/words.py": "def say() -> None: ...\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for name, text in FILES.items():
        path = tmp_path / "jobs/mmrlhf_jobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree.read(tmp_path)


def test_what_is_called_is_opened_and_nothing_else(tree: Tree) -> None:
    files = reached_files(tree, ["mmrlhf_jobs.top.start:start", "mmrlhf_jobs.old:start"])
    assert [path.stem for path in files] == ["engine", "wheel", "words", "start"]


def test_a_method_begins_where_it_is_named(tree: Tree) -> None:
    files = reached_files(tree, ["mmrlhf_jobs.low.engine:Engine.stop"])
    assert "start" in {path.stem for path in files}


def test_entries_that_nobody_has_are_refused(tree: Tree) -> None:
    with pytest.raises(ValueError, match=r"no such entry: mmrlhf_jobs\.old:start"):
        reached_files(tree, ["mmrlhf_jobs.old:start"])


def test_circles_and_upward_arrows_are_found(tree: Tree) -> None:
    assert circles(tree.imports) == [frozenset({"mmrlhf_jobs.top.start", "mmrlhf_jobs.low.engine"})]
    assert circles(tree.imports_between_rooms) == [
        frozenset({"mmrlhf_jobs.top", "mmrlhf_jobs.low"})
    ]
    layers = {"mmrlhf_jobs": [["top"], ["low"]]}
    assert upward(tree, layers, {}) == [("mmrlhf_jobs.low.engine", "mmrlhf_jobs.top.start")]
    # The same file of an older tree counts where it went.
    moved = {"jobs/mmrlhf_jobs/low/engine.py": "jobs/mmrlhf_jobs/top/engine.py"}
    assert upward(tree, layers, moved) == []


def test_this_tree_has_neither() -> None:
    tree = Tree.read(ROOT)
    assert circles(tree.imports) == []
    assert circles(tree.imports_between_rooms) == []
    assert upward(tree, _layers(), {}) == []
    assert set(_layers()) == {"mmrlhf_jobs", "mmrlhf_operator", "mmrlhf", "mmrlhfctl"}


@pytest.mark.parametrize("trail", TRAILS, ids=lambda trail: trail.name)
def test_every_trail_begins_in_this_tree(trail: object) -> None:
    from tools.structure import Trail

    assert isinstance(trail, Trail)
    assert len(reached_files(Tree.read(ROOT), trail.entries)) > 5

"""What job, operator and command line share is spelled once."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mmrlhf_api
from mmrlhf_api.progress import FIGURES

ROOT = Path(__file__).parents[2]
ONE_LINE = (
    "    Figure(name='gradientNorm', about='Norm of the gradient.', text='gradient {}', form='.2f',"
    " title='Norm', course=Course.STEPS),\n"
)
TELL_THEM = ("jobs/mmrlhf_jobs/reporting/",)
"""Of the jobs, those that pass events on; the others make them."""


def test_a_new_figure_is_one_line(tmp_path: Path) -> None:
    api = tmp_path / "mmrlhf_api"
    shutil.copytree(Path(mmrlhf_api.__file__).parent, api)
    table = (api / "progress.py").read_text()
    place = '    Figure(\n        name="loss"'
    assert table.count(place) == 1
    (api / "progress.py").write_text(table.replace(place, ONE_LINE + place))
    program = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("new_figure.py")), "gradientNorm", "1.23456"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    found = json.loads(program.stdout)
    assert found["log"] == "step 3/9  gradient 1.23  loss 0.5000"
    assert found["local"] == "step 3/9  gradient 1.23  loss 0.5000"
    assert found["status"]["gradientNorm"] == 1.23456
    assert found["schema"] == {"type": "number", "description": "Norm of the gradient."}
    assert found["columns"] == ["Norm"]
    assert found["reference"] == ["| `gradientNorm` | number | - | Norm of the gradient. |"]
    assert found["summary"] == ["Progress:    step 3/9 (33 %)  gradient 1.23  loss 0.5  (0s ago)"]
    assert found["list"]["NORM"] == "1.235"


def test_no_other_file_spells_a_figure() -> None:
    words = {figure.name for figure in FIGURES}
    compounds = {spelling for f in FIGURES for spelling in (f.name, f.field) if f.name != f.field}

    def spells(node: ast.AST) -> bool:
        match node:
            case ast.Constant(value=str(text)):
                return text in words or any(name in text for name in compounds)
            case ast.Attribute(attr=name) | ast.keyword(arg=name) | ast.Name(id=name):
                return name in compounds
        return False

    spelled = {
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}"
        for path in _readers()
        for node in ast.walk(ast.parse(path.read_text()))
        if spells(node)
    }
    assert spelled == set()


def _readers() -> Iterator[Path]:
    home = Path("crds/mmrlhf_api/progress.py")
    for package in (
        "crds/mmrlhf_api",
        "operator/mmrlhf_operator",
        "sdk/mmrlhf",
        "cli/mmrlhfctl",
        *TELL_THEM,
    ):
        files = list((ROOT / package).rglob("*.py"))
        assert files, package
        yield from (path for path in files if path.relative_to(ROOT) != home)

"""``python -m tests.crd_checker``, as ``make crds`` and CI run it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mmrlhf_api.pipelines.resources import all_resources
from tests.crd_checker.__main__ import main
from tests.unit.crd_checker.specimens import SPEC, definition


def test_the_shipped_files_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith(f"{len(all_resources())} CustomResourceDefinitions: ")


def test_a_fault_is_told_with_file_name_and_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other objects of a file, such as those of an installation, are passed over."""
    path = tmp_path / "install.yaml"
    faulty = definition("size: {default: many}")
    path.write_text(yaml.safe_dump_all([{"kind": "Namespace"}, definition(), None, faulty]))
    assert main([str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: things.example.test: {SPEC}.properties[size].default: must be")


def test_nothing_to_check_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("kind: Namespace\n")
    assert main([str(path)]) == 1
    assert "no CustomResourceDefinition" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["crds", "crds-check"])
def test_make_runs_it(target: str) -> None:
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text()
    recipe = makefile.split(f"\n{target}: ", 1)[1].split("\n\n", 1)[0]
    assert "-m tests.crd_checker" in recipe

"""Rules of the repository that no other tool holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("crds/mmrlhf_api", "jobs/mmrlhf_jobs", "operator/mmrlhf_operator", "cli/mmrlhfctl")


def test_operator_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(ROOT / "operator") not in found.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_have_no_junk_drawer(package: str) -> None:
    folder = ROOT / package
    assert (folder / "py.typed").is_file()
    names = {path.stem for path in folder.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_job_package_imports_without_torch() -> None:
    """The operator and the CLI import it for its components."""
    code = (
        "import sys, mmrlhf_jobs, mmrlhf_jobs.errors, mmrlhf_jobs.components;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_changelog_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"[{version.group(1)}]" in (ROOT / "CHANGELOG.md").read_text()


def test_repo_map_names_every_top_level_folder() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {name.split("/")[0] for name in tracked if "/" in name}
    agents = (ROOT / "AGENTS.md").read_text()
    assert not {folder for folder in folders if f"`{folder}/" not in agents}

"""The wheel in empty environments, extra by extra: what each is for starts, and needs no more.

``make wheel`` runs it; it installs from the package index. The extras with torch (jobs, sample) are
gigabytes, so their requirements are those of the environment that runs the tests, and only the
wheel is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS_TORCH = ("jobs", "sample", "qlora")
PROGRAMS: dict[str, list[list[str]]] = {
    "": [
        ["python", "-c", "import mmrlhf; mmrlhf.load_job; mmrlhf.JobView; mmrlhf.Step"],
        ["python", "-m", "mmrlhf_api.generate", "--help"],
    ],
    "cli": [
        ["mmrlhfctl", "version", "-o", "json"],
        ["mmrlhfctl", "explain", "mmdpo.spec.objective"],
        ["kubectl-mmrlhf", "get", "--help"],
        ["kubectl_complete-mmrlhf", "sus"],
        ["python", "-c", "import mmrlhf; mmrlhf.Client; mmrlhf.run"],
    ],
    "operator": [["python", "-m", "mmrlhf_operator", "--help"]],
    "jobs": [
        ["python", "-m", "mmrlhf_jobs", "--help"],
        ["python", "-c", "import mmrlhf; mmrlhf.losses; mmrlhf.RewardModel; mmrlhf.Dataset"],
    ],
    "qlora": [["python", "-c", "import bitsandbytes"]],
    "wandb": [["python", "-c", "import wandb"]],
    "mlflow": [["python", "-c", "import mlflow"]],
    "sample": [["python", "-c", "import umap, mmrlhf_jobs.sampling.report.projection"]],
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(ROOT)])
    (found,) = folder.glob("mmrlhf-*.whl")
    return found


def run(command: list[str], *, cwd: Path | None = None, path: Path | None = None) -> str:
    """Run a program, with that folder first on PATH, and return what it wrote."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environ["PATH"] = f"{path}{os.pathsep}{environ['PATH']}"
        command = [str(path / command[0]), *command[1:]]
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=3000, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """Install the wheel with an extra into an environment of its own; return its programs."""
    run([sys.executable, "-m", "venv", str(folder)])
    programs = folder / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
    if extra in NEEDS_TORCH:
        run([*pip, "--no-deps", str(wheel)])
        (site,) = folder.glob("lib/python*/site-packages")
        # Behind the environment's own, so that ours is the wheel's.
        (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    else:
        wanted = f"{wheel}[{extra}]" if extra else str(wheel)
        run([*pip, "--constraint", str(ROOT / "constraints.txt"), wanted])
    return programs


@pytest.mark.parametrize("extra", PROGRAMS)
def test_programs_of_each_extra_start(wheel: Path, tmp_path: Path, extra: str) -> None:
    programs = install(wheel, extra, tmp_path / "environment")
    for command in PROGRAMS[extra]:
        run(command, cwd=tmp_path, path=programs)
    where = run(["python", "-c", "import mmrlhf; print(mmrlhf.__file__)"], path=programs)
    assert where.startswith(str(tmp_path))
    if extra not in NEEDS_TORCH:
        listed = run(["python", "-m", "pip", "list", "--format", "json"], path=programs)
        names = {one["name"].lower() for one in json.loads(listed)}
        assert "torch" not in names
        assert ("kopf" in names) == (extra == "operator")


def test_all_extras_are_tried() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) - {"dev"} == set(PROGRAMS) - {""}

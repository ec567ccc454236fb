"""``kubectl mmrlhf``: kubectl itself finds and starts the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.binaries import kubectl

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Kubectl:
    """Run kubectl with the entry points of the package on PATH."""
    for name, target in (
        ("kubectl-mmrlhf", "mmrlhfctl.__main__ import main"),
        ("kubectl_complete-mmrlhf", "mmrlhfctl.kubectl_plugin import main"),
    ):
        program = tmp_path / name
        program.write_text(f"#!{sys.executable}\nimport sys\nfrom {target}\nsys.exit(main())\n")
        program.chmod(0o755)
    # An active virtual environment has them too; kubectl would warn that one hides the other.
    others = os.environ["PATH"].split(os.pathsep)
    others = [folder for folder in others if not (Path(folder) / "kubectl-mmrlhf").exists()]
    path = os.pathsep.join([str(tmp_path), *others])

    def kubectl_run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(kubectl()), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return kubectl_run


def test_kubectl_lists_it_without_a_warning(run: Kubectl, tmp_path: Path) -> None:
    done = run("plugin", "list")
    assert str(tmp_path / "kubectl-mmrlhf") in done.stdout
    assert "warning" not in done.stderr.lower()


def test_kubectl_starts_it_and_it_names_itself_so(run: Kubectl) -> None:
    done = run("mmrlhf", "status", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: kubectl mmrlhf status ")
    unreachable = run("mmrlhf", "status", KUBECONFIG="/nowhere", KUBERNETES_SERVICE_HOST="")
    assert (unreachable.returncode, unreachable.stdout) == (5, "")
    assert unreachable.stderr.startswith("error: no cluster is configured")


def test_kubectl_completes_it(run: Kubectl) -> None:
    """kubectl 1.26 and later asks ``kubectl_complete-NAME``, in the words of cobra."""
    commands = run("__complete", "mmrlhf", "sus").stdout.splitlines()
    assert commands == ["suspend\tStop the pods of jobs and keep the jobs.", ":4"]
    options = run("__complete", "mmrlhf", "get", "--out").stdout.splitlines()
    assert options[0].startswith("--output")
    assert options[-1] == ":4"
    choices = run("__complete", "mmrlhf", "get", "-o", "").stdout.splitlines()
    assert [line.split("\t")[0] for line in choices[:-1]] == [
        "text",
        "wide",
        "json",
        "yaml",
        "name",
        "jsonpath=",
    ]

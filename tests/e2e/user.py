"""What a user does to a cluster, with the tools that a user has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrlhf_api.constants import API_VERSION, LABEL_JOB
from tests.cluster.access import Access
from tests.cluster.binaries import kubectl


@dataclass(frozen=True)
class User:
    """Someone with a shell.

    Attributes:
        cluster: Whose.
        namespace: Namespace of his jobs.
        folder: Where he works.
        env: Variables that he has set.
    """

    cluster: Access
    namespace: str
    folder: Path
    env: dict[str, str]

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """Run kubectl to its end; return what it wrote."""
        return self.run([str(kubectl()), *arguments], check=check)

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run mmrlhfctl to its end; return what it wrote."""
        return self.run([sys.executable, "-m", "mmrlhfctl", *arguments], check=check)

    def run(self, argv: Sequence[str], *, check: bool = True) -> str:
        done = subprocess.run(
            self.cluster.command([*argv]),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        if check and done.returncode != 0:
            words = " ".join(map(str, argv))
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    @contextmanager
    def watching(self, name: str, argv: Sequence[str]) -> Iterator[Watching]:
        """Leave a command running, with its output in a file, for the length of a block."""
        out = self.folder / f"{name}.out"
        with out.open("w") as stdout, (self.folder / f"{name}.err").open("w") as stderr:
            process = subprocess.Popen(
                self.cluster.command([*argv]),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            yield Watching(process, out)
        finally:
            process.kill()
            process.wait()

    def job(self, name: str) -> dict[str, Any]:
        """A job as the API server has it: tests that wait ask often, and kubectl is dear."""
        return self.cluster.api.get(
            f"/apis/{API_VERSION}/namespaces/{self.namespace}/mmdpojobs/{name}"
        )

    def made(self, resource: str) -> list[dict[str, Any]]:
        """Objects of a core resource that were made for jobs, as the API server has them."""
        path = f"/api/v1/namespaces/{self.namespace}/{resource}"
        items: list[dict[str, Any]] = self.cluster.api.get(path, labelSelector=LABEL_JOB)["items"]
        return items

    def _environment(self) -> dict[str, str]:
        return {**self.cluster.environment(), **self.env}


@dataclass(frozen=True)
class Watching:
    """A command that runs, and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    out: Path

    @property
    def lines(self) -> list[str]:
        """What it has written."""
        return self.out.read_text().splitlines()

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        return self.process.wait(timeout=600)


def kubeconfig_for(cluster: Access, namespace: str, folder: Path) -> Path:
    """A kubeconfig whose namespace is the user's, as people have it."""
    import yaml

    content = yaml.safe_load(cluster.kubeconfig.read_text())
    for context in content["contexts"]:
        context["context"]["namespace"] = namespace
    path = folder / "kubeconfig"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(content, file)
    return path

"""What tests ask of Helm."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import layout
from tests.cluster.access import Access

__all__ = ["CHART", "NAMESPACE", "RELEASE", "HelmError", "Release", "ask", "lint", "template"]

CHART = layout.REPOSITORY / "deploy/chart"
RELEASE = "mmrlhf-operator"
NAMESPACE = "mmrlhf-system"

Values = Mapping[str, Any]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The kinds are long."""


class HelmError(Exception):
    """Helm refused; says why in its words."""


def ask(requests: Sequence[Values], *, cluster: Access | None = None) -> list[dict[str, Any]]:
    """What came of each request; see `tests.helm.__main__`."""
    argv = [sys.executable, "-m", "tests.helm"]
    done = subprocess.run(
        argv if cluster is None else cluster.command(argv),
        cwd=layout.REPOSITORY,
        input=json.dumps(list(requests)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def lint(values: Sequence[Values], *, chart: Path = CHART) -> list[list[str]]:
    """What Helm finds wrong with a chart under each of some values."""
    answers = ask([{"action": "lint", "chart": str(chart), "values": dict(v)} for v in values])
    return [
        [f"{one['path']}: {one['error']}" for one in answer["result"]["messages"]
         if one["severity"] > 1]
        for answer in answers
    ]  # fmt: skip


def template(
    values: Sequence[Values], *, chart: Path = CHART, namespace: str = NAMESPACE
) -> list[list[dict[str, Any]] | HelmError]:
    """The objects of a chart under each of some values, without the notes."""
    options = {"name": RELEASE, "namespace": namespace}
    answers = ask(
        [{"action": "template", "chart": str(chart), "values": dict(v), **options} for v in values]
    )
    return [
        HelmError(answer["error"]) if "error" in answer else objects(answer["result"])
        for answer in answers
    ]


def objects(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is in the files that Helm made."""
    return [
        body
        for name, text in texts.items()
        if not name.endswith(".txt")
        # Go's YAML has 1e-06 for a number, where Python's takes that for a word.
        for body in yaml.load_all(re.sub(r"(?m)(: \d)(e-\d+)$", r"\1.0\2", text), _Loader)
        if body
    ]


@dataclass(frozen=True)
class Release:
    """A chart on a cluster."""

    cluster: Access
    namespace: str = NAMESPACE
    name: str = RELEASE

    def install(self, values: Values, *, chart: Path = CHART, **options: Any) -> dict[str, Any]:
        """Install it, without waiting for pods; returns what Helm says of it."""
        done: dict[str, Any] = self._do("install", chart=str(chart), values=dict(values), **options)
        return done

    def upgrade(self, values: Values, *, chart: Path = CHART, **options: Any) -> dict[str, Any]:
        """Bring it up to date."""
        done: dict[str, Any] = self._do("upgrade", chart=str(chart), values=dict(values), **options)
        return done

    def take_over(self) -> None:
        """Let the release own what `install.yaml` has left, as docs/install.md says."""
        page = (layout.REPOSITORY / "docs/install.md").read_text()
        (script,) = re.findall(r"```sh\n(what=.*?)```", page, re.DOTALL)
        what = re.findall(r'what="(.*?)"', script, re.DOTALL)[0].split()
        for line in script.replace("\\\n", " ").split("\nkubectl ")[1:]:
            words = [what if word == "$what" else [word] for word in line.split()]
            self.cluster.kubectl(*itertools.chain(*words))

    def rollback(self) -> None:
        """Go back to what was before the last upgrade."""
        self._do("rollback")

    def uninstall(self) -> dict[str, Any]:
        """Remove it."""
        done: dict[str, Any] = self._do("uninstall")
        return done

    def _do(self, action: str, *, chart: str = "", **options: Any) -> Any:
        where = {
            "release": self.name,
            "kubeconfig_path": str(self.cluster.kubeconfig),
            "namespace": self.namespace,
        }
        (answer,) = ask(
            [{"action": action, "chart": chart, **where, **options}], cluster=self.cluster
        )
        if "error" in answer:
            raise HelmError(answer["error"])
        return answer["result"]

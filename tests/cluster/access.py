"""What a test needs of a cluster, whether it was brought up here or is someone's own."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

from tests.cluster.api import Api
from tests.cluster.binaries import kubectl
from tests.cluster.errors import ClusterError


class Access(ABC):
    """A cluster that is up."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """Makes its bearer an administrator."""

    @property
    @abstractmethod
    def api(self) -> Api:
        """A client with the rights of the kubeconfig."""

    @property
    @abstractmethod
    def is_ours(self) -> bool:
        """Whether the cluster was made for the tests; if not, leave nothing behind in it."""

    @cached_property
    def knows_rules(self) -> bool:
        """Whether the API server knows the rules of CRDs (CEL): from 1.25 on it does.

        What it does not know the operator finds, and so a test may expect either.
        """
        minor: str = self.api.get("/version")["minor"]  # such as 20+
        return int(minor.rstrip("+")) >= 25

    @abstractmethod
    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` where the cluster can be reached."""

    @abstractmethod
    def entered(self) -> AbstractContextManager[None]:
        """Lets the calling thread reach the cluster; see `Namespace.entered`."""

    def environment(self) -> dict[str, str]:
        """The environment for a process that talks to the cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end, with its output as text.

        Raises:
            ClusterError: with kubectl's own words, if it failed and `check` is set.
        """
        done = subprocess.run(
            self.command([str(kubectl()), *arguments]),
            env=self.environment(),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done


class ExistingCluster(Access):
    """Someone's own cluster, as a kubeconfig names it."""

    def __init__(self, kubeconfig: Path) -> None:
        if not kubeconfig.is_file():
            raise ClusterError(f"KUBECONFIG={kubeconfig} is not a file")
        self._kubeconfig = kubeconfig.resolve()
        self._api = Api.from_kubeconfig(self._kubeconfig)

    @property
    def kubeconfig(self) -> Path:
        return self._kubeconfig

    @property
    def api(self) -> Api:
        return self._api

    @property
    def is_ours(self) -> bool:
        return False

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def entered(self) -> AbstractContextManager[None]:
        return nullcontext()

"""Where the cluster keeps its files, and the addresses that it uses.

Addresses are those inside the namespace, so they can clash with nothing outside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import PrerequisiteError

NODE_NAME = "node-0"
NODE_ADDRESS = "10.200.0.2"
SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
POD_RANGE = "10.201.0.0/16"
DOMAIN = "cluster.local"
API_SERVER = f"https://{NODE_ADDRESS}:6443"

DEFAULT_AUDIENCE = f"https://kubernetes.default.svc.{DOMAIN}"
OPERATOR_AUDIENCE = "mmrlhf-operator"

REPOSITORY = Path(__file__).resolve().parents[2]

HIDDEN = (Path("/run"), Path("/var/lib"), Path("/var/log"))
"""Folders of the machine that the cluster's processes see a private version of."""


def cache() -> Path:
    """The folder for everything that mmrlhf caches on this machine."""
    override = os.environ.get("MMRLHF_CACHE")
    if override:
        return Path(override).resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").resolve() / "mmrlhf"


@dataclass(frozen=True)
class Layout:
    """The files of one cluster. All lie under `root`, so that removing it removes them."""

    name: str

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum():
            raise PrerequisiteError(
                f"{self.name!r} is no name for a cluster: use letters, digits and dashes"
            )
        for hidden in HIDDEN:
            if self.root.is_relative_to(hidden):
                raise PrerequisiteError(
                    f"the cluster cannot keep its files in {self.root}, because its processes get"
                    f" a private {hidden}: set MMRLHF_CACHE to a folder elsewhere"
                )

    @property
    def root(self) -> Path:
        return cache() / "clusters" / self.name

    @property
    def lock(self) -> Path:
        return cache() / "clusters" / f"{self.name}.lock"

    @property
    def state(self) -> Path:
        """What a later process needs to know to use this cluster, or to take it down."""
        return self.root / "state.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def certificates(self) -> Path:
        return self.root / "certificates"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def private(self) -> Path:
        """Holds the private versions of the folders in `HIDDEN`."""
        return self.root / "private"

    @property
    def cgroup(self) -> str:
        """The parent of all pods' cgroups, as a path below each hierarchy's root."""
        return f"mmrlhf-{self.name}"

    def create(self) -> None:
        for folder in (self.logs, self.certificates, self.config, self.private):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)

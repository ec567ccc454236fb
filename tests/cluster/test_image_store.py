"""What containerd keeps of images: unpacked once, and nothing of a cluster that was killed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cluster import images, layout
from tests.cluster.containerd import SOCKET, Containerd
from tests.cluster.daemons import Daemons
from tests.cluster.image_store import ImageStore
from tests.cluster.namespace import Namespace
from tests.images.tiny import write_layout

pytestmark = pytest.mark.cluster

BASE = {"base": b"of all versions"}


class Runtime:
    """A containerd that works on the store, in namespaces that nothing else is in."""

    def __init__(self, files: layout.Layout, namespace: Namespace) -> None:
        self.namespace = namespace
        self.daemons = Daemons(namespace, files.logs)
        store = ImageStore.take()
        assert store is not None
        self.store = store
        containerd = Containerd(self.daemons, files.config, store.root)
        containerd.start(pause="none", cni=files.config)
        socket = Path(files.private, SOCKET.lstrip("/"))
        self.daemons.wait_until(socket.exists, timeout=30, what="containerd's socket")

    def ctr(self, *arguments: str) -> str:
        done = self.daemons.run(["ctr", "--namespace", "k8s.io", *arguments])
        assert done.returncode == 0, done.stdout
        return done.stdout

    def load(self, layout: Path) -> None:
        images.load(layout, self.namespace)

    def read(self, image: str, file: str) -> str:
        """A file as a container of the image sees it."""
        self.daemons.run(["mkdir", "-p", "/run/look"])
        self.ctr("images", "mount", image, "/run/look")
        shown = self.daemons.run(["cat", f"/run/look/{file}"])
        self.ctr("images", "unmount", "--rm", "/run/look")
        return shown.stdout

    def unpacked(self, file: str) -> set[int]:
        """Where the file lies in unpacked layers, which are told apart by inode."""
        return {path.stat().st_ino for path in self.store.root.glob(f"*/snapshots/*/fs/{file}")}


@pytest.fixture
def runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], AbstractContextManager[Runtime]]:
    """Starts a containerd, and kills it and all that it runs at the end."""
    monkeypatch.setenv("MMRLHF_CACHE", str(tmp_path / "cache"))
    numbers = itertools.count()

    @contextmanager
    def start() -> Iterator[Runtime]:
        files = layout.Layout(f"store-{next(numbers)}")
        files.create()
        namespace = Namespace.create(files, die_with_parent=True)
        try:
            runtime = Runtime(files, namespace)
            yield runtime
        finally:
            namespace.destroy()
            runtime.daemons.reap()
            runtime.store.give_back()

    return start


def test_a_layer_is_unpacked_once_and_its_code_is_never_stale(
    runtime: Callable[[], AbstractContextManager[Runtime]], tmp_path: Path
) -> None:
    first = write_layout(tmp_path / "1", "mmrlhf/one:1", BASE, {"code": b"first"})
    second = write_layout(tmp_path / "2", "mmrlhf/one:2", BASE, {"code": b"second"})
    with runtime() as one:
        one.load(first)
        assert one.read("mmrlhf/one:1", "code") == "first"
        base = one.unpacked("base")
    # What both have is read no second time.
    shared = {path.name for path in (tmp_path / "1/blobs/sha256").iterdir()}
    for path in (tmp_path / "2/blobs/sha256").iterdir():
        if path.name in shared:
            path.unlink()
    with runtime() as two:
        two.load(second)
        assert two.read("mmrlhf/one:2", "code") == "second"
        assert two.read("mmrlhf/one:2", "base") == "of all versions"
        assert len(base) == 1
        assert two.unpacked("base") == base
        # Of each image there is one version.
        assert two.ctr("images", "list", "--quiet").split()[0] == "mmrlhf/one:2"
        assert "mmrlhf/one:1" not in two.ctr("images", "list")


def test_nothing_is_left_of_pods_of_a_cluster_that_was_killed(
    runtime: Callable[[], AbstractContextManager[Runtime]], tmp_path: Path
) -> None:
    image = write_layout(tmp_path / "1", "mmrlhf/one:1", BASE)

    def left(runtime: Runtime) -> list[str]:
        snapshots = runtime.ctr("snapshots", "list").splitlines()[1:]
        return [
            *runtime.ctr("containers", "list", "--quiet").split(),
            *(line.split()[0] for line in snapshots if line.split()[-1] != "Committed"),
            *runtime.ctr("leases", "list", "--quiet").split(),
            *map(str, runtime.store.root.glob("io.containerd.grpc.v1.cri/*/*")),
        ]

    with runtime() as killed:
        killed.load(image)
        killed.ctr("containers", "create", "mmrlhf/one:1", "pod")
        killed.ctr("snapshots", "prepare", "in-the-making")
        killed.ctr("leases", "create", "--id", "import")
        sandbox = killed.store.root / "io.containerd.grpc.v1.cri/sandboxes/pod"
        sandbox.mkdir(parents=True)
        assert {"pod", "in-the-making", "import", str(sandbox)} <= set(left(killed))
    with runtime() as cluster:
        assert left(cluster) == []
        assert cluster.read("mmrlhf/one:1", "base") == "of all versions"


def test_a_store_that_containerd_cannot_read_is_begun_anew(
    runtime: Callable[[], AbstractContextManager[Runtime]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = write_layout(tmp_path / "1", "mmrlhf/one:1", BASE)
    with runtime() as one:
        one.load(image)
        (database,) = one.store.root.glob("*/meta.db")
    database.write_bytes(b"no database")
    with runtime() as other:
        assert "begins anew" in capsys.readouterr().err
        other.load(image)
        assert other.read("mmrlhf/one:1", "base") == "of all versions"


def test_one_cluster_at_a_time_has_the_store_and_those_of_other_versions_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRLHF_CACHE", str(tmp_path))
    store = ImageStore.take()
    assert store is not None
    old = tmp_path / "containerd/1.0"
    old.mkdir()
    old.with_name("1.0.lock").touch()
    assert ImageStore.take() is None
    store.give_back()
    assert old.is_dir()
    again = ImageStore.take()
    assert again is not None
    assert again.root == store.root
    assert not old.exists()
    again.give_back()

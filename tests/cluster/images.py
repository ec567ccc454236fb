"""Container images without a registry: two tiny ones made here, and loading any archive or layout.

Both consist of Debian's static busybox. `TEST` has a shell, wget, nslookup, nc and the like.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from images.layouts import blobs, image_name
from tests.cluster import layout
from tests.cluster.binaries import program
from tests.cluster.containerd import SOCKET
from tests.cluster.errors import ClusterError
from tests.cluster.namespace import Namespace

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image made of busybox."""

    name: str
    entrypoint: Sequence[str]

    @property
    def short_name(self) -> str:
        return self.name.rpartition("/")[2].partition(":")[0]


PAUSE = Image("mmrlhf.test/pause:1", ("/bin/busybox", "sleep", "2147483647"))
"""What holds a pod's namespaces open."""

TEST = Image("mmrlhf.test/busybox:1", ("/bin/sh", "-c"))
"""What the cluster's own tests run; a container's `args` are one shell script."""


def build(image: Image, archive: Path, *, busybox: Path) -> None:
    """Write the image as an archive, as `docker save` does."""
    layer = _layer(busybox)
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image.name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, "layer.tar", layer)
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def load(source: Path, namespace: Namespace) -> None:
    """Load an OCI or docker archive, or an OCI layout, into the containerd of a cluster.

    Of a layout, which has one image, only what containerd lacks is read. Then other versions of the
    image go: of each, as much is kept as the next one can share, and no more.
    """
    if source.is_dir():
        _load_layout(source, namespace)
    elif source.is_file():
        # By file descriptor: the archive may lie where the node has a private folder.
        with source.open("rb") as content:
            _ctr(namespace, "images", "import", "-", stdin=content)
    else:
        raise ClusterError(f"there is no image archive or layout {source}")


def _load_layout(source: Path, namespace: Namespace) -> None:
    manifest, *others = blobs(source)
    name = image_name(source)
    present = set(_ctr(namespace, "content", "list", "--quiet").split())
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{manifest.name}",
        "size": manifest.stat().st_size,
        # By this containerd takes a name as it is.
        "annotations": {"io.containerd.image.name": name},
    }
    with tempfile.TemporaryFile(dir=layout.cache()) as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            _add(tar, "oci-layout", (source / "oci-layout").read_bytes())
            index = {"schemaVersion": 2, "manifests": [entry]}
            _add(tar, "index.json", json.dumps(index).encode())
            for blob in (manifest, *others):
                if f"sha256:{blob.name}" not in present:
                    tar.add(blob, f"blobs/sha256/{blob.name}")
        archive.seek(0)
        _ctr(namespace, "images", "import", "-", stdin=archive)
    _forget_others(name, str(entry["digest"]), namespace)


def _forget_others(name: str, digest: str, namespace: Namespace) -> None:
    """Remove other versions of an image, under all their names: the kubelet's is their digest."""
    rows = [line.split()[:3] for line in _ctr(namespace, "images", "list").splitlines()[1:]]
    repository = name.rpartition(":")[0]
    others = {
        theirs
        for ref, _, theirs in rows
        if ref.rpartition(":")[0] == repository and theirs != digest
    }
    if old := [ref for ref, _, theirs in rows if theirs in others]:
        _ctr(namespace, "images", "remove", *old)


def _ctr(namespace: Namespace, *arguments: str, stdin: IO[bytes] | None = None) -> str:
    argv = [str(program("ctr")), "--address", SOCKET, "--namespace", "k8s.io", *arguments]
    done = subprocess.run(
        namespace.daemon_command(argv),
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        what = f"`ctr {' '.join(arguments[:2])}`"
        raise ClusterError(f"{what} of the node's containerd failed: {done.stderr.strip()}")
    return done.stdout


def _layer(busybox: Path) -> bytes:
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        for applet in sorted({*applets.stdout.split()} - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))

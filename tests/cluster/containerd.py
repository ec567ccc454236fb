"""containerd, and what it keeps of images from one cluster to the next.

To unpack an image takes longer than all else about it. So containerd may work on what that of an
earlier cluster left on disk (see `image_store`). Before it serves pods, it forgets there whatever
is no image: the pods that the other one had, and what was being made when it was killed.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import program
from tests.cluster.daemons import Daemons

SOCKET = "/run/containerd/containerd.sock"
"""As the cluster's own processes see it."""

_SOCKET_ALONE = "/run/containerd/alone.sock"

_PRIVATE_ROOT = Path("/var/lib/containerd")

_CONFIG = """\
version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  {disabled}
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true
  # The kubelet wants negative scores, for which not every root has the right.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""

# Without the plugin that serves the kubelet, which else would take what it finds for its own pods.
# A container goes with its file system; a file system that is left is one that was being made.
_FORGET = """
set -eu
containerd=$1 config=$2 socket=$3
"$containerd" --config "$config" &
trap 'kill $! && wait $! || true' EXIT
until [ -S "$socket" ]; do kill -0 $!; sleep 0.02; done
ours() { ctr --address "$socket" --namespace k8s.io "$@"; }
containers=$(ours containers list --quiet)
[ -z "$containers" ] || ours containers rm $containers
snapshots=$(ours snapshots list)
for key in $(echo "$snapshots" | awk 'NR > 1 && $NF != "Committed" { print $1 }'); do
    ours snapshots rm "$key"
done
for lease in $(ours leases list --quiet); do ours leases rm "$lease"; done
"""


@dataclass(frozen=True)
class Containerd:
    """The containerd of one cluster.

    Attributes:
        daemons: Start and watch it.
        config: Folder of its configuration.
        root: What is its own on disk.
    """

    daemons: Daemons
    config: Path
    root: Path = _PRIVATE_ROOT

    def start(self, *, pause: str, cni: Path) -> None:
        """Start it; returns before it serves.

        Args:
            pause: Image that holds a pod's namespaces open.
            cni: Folder of the configuration of networks.
        """

        def configure(name: str, socket: str, *disabled: str) -> Path:
            path = self.config / name
            path.write_text(
                _CONFIG.format(
                    root=self.root,
                    socket=socket,
                    disabled="".join(f'"{plugin}",' for plugin in disabled),
                    pause=pause,
                    cni=cni,
                )
            )
            return path

        if self.root != _PRIVATE_ROOT:
            alone = configure("containerd-alone.toml", _SOCKET_ALONE, "io.containerd.grpc.v1.cri")
            self._forget_pods(alone)
        config = configure("containerd.toml", SOCKET)
        self.daemons.start("containerd", [str(program("containerd")), "--config", str(config)])

    def _forget_pods(self, config: Path) -> None:
        done = self.daemons.run(
            ["sh", "-c", _FORGET, "", str(program("containerd")), str(config), _SOCKET_ALONE]
        )
        if done.returncode != 0:
            print(
                f"containerd cannot use what was kept in {self.root}, and begins anew:",
                done.stdout,
                sep="\n",
                file=sys.stderr,
            )
            shutil.rmtree(self.root)
            self.root.mkdir()

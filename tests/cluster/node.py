"""One node that runs pods: containerd, the kubelet and kube-proxy."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import cgroups, images, layout
from tests.cluster.api import Api
from tests.cluster.binaries import Binaries, program
from tests.cluster.certificates import Authority
from tests.cluster.containerd import SOCKET, Containerd
from tests.cluster.daemons import Daemons
from tests.cluster.errors import ApiError
from tests.cluster.namespace import Namespace

# Each pod hangs on a link of its own and everything is routed. On a bridge, answers between two
# pods would pass by the service address translation, unless the kernel filters bridges too.
_CNI: dict[str, Any] = {
    "cniVersion": "0.4.0",
    "name": "mmrlhf-test",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": layout.POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


@dataclass(frozen=True)
class Node:
    """The node of one cluster."""

    files: layout.Layout
    binaries: Binaries
    authority: Authority
    namespace: Namespace
    daemons: Daemons
    containerd: Containerd

    def start(self) -> None:
        """Start all three; they wait for the API server themselves. Returns at once."""
        cgroups.create(self.files.cgroup)
        self._start_containerd()
        self._start_kubelet()
        self._start_proxy()

    def load_images(self) -> None:
        """Load the pause image, without which no pod starts, and the test image."""
        self.daemons.wait_until(
            lambda: Path(self.files.private, SOCKET.lstrip("/")).exists(),
            timeout=30,
            what="containerd's socket",
        )
        for image in (images.PAUSE, images.TEST):
            archive = self.files.config / f"{image.short_name}.tar"
            images.build(image, archive, busybox=program("/bin/busybox"))
            images.load(archive, self.namespace)

    def wait_until_ready(self, api: Api) -> None:
        """Wait until pods can be bound to it, and reach services; the caller is inside."""
        self.daemons.wait_until(lambda: _ready(api), timeout=90, what="a ready node")
        self.daemons.wait_until(
            _serves, timeout=90, what="the address of the API server's own service"
        )

    def _start_containerd(self) -> None:
        cni = self.files.config / "cni"
        cni.mkdir(exist_ok=True)
        (cni / "10-mmrlhf-test.conflist").write_text(json.dumps(_CNI, indent=2))
        self.containerd.start(pause=images.PAUSE.name, cni=cni)

    def _start_kubelet(self) -> None:
        kubelet = self.binaries.kubernetes("kubelet")
        client = self.authority.client(
            "kubelet", user=f"system:node:{layout.NODE_NAME}", group="system:nodes"
        )
        kubeconfig = self.authority.kubeconfig(self.files.config / "kubelet.kubeconfig", client)
        resolv = self.files.config / "resolv.conf"
        resolv.write_text("# the cluster knows no name of the world outside\n")
        settings = self._kubelet_config(resolv)
        endpoint = f"unix://{SOCKET}"
        options = []
        minor = _minor_version(kubelet)
        if minor < 24:
            options.append("--container-runtime=remote")
        if minor < 27:
            options.append(f"--container-runtime-endpoint={endpoint}")
        else:
            settings |= {"containerRuntimeEndpoint": endpoint}
        if minor >= 31:
            settings |= {"failCgroupV1": False}
        config = _write(self.files.config / "kubelet.json", settings)
        self.daemons.start(
            "kubelet",
            [
                *(str(kubelet), f"--config={config}", f"--kubeconfig={kubeconfig}", *options),
                f"--hostname-override={layout.NODE_NAME}",
                f"--node-ip={layout.NODE_ADDRESS}",
            ],
        )

    def _kubelet_config(self, resolv: Path) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.authority.pair.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.files.cgroup}",
            "clusterDNS": [layout.NODE_ADDRESS],
            "clusterDomain": layout.DOMAIN,
            "resolvConf": str(resolv),
            "failSwapOn": False,
            # What changed is told at once; that nothing did, seldom: nobody waits for that here.
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "5m",
            "serializeImagePulls": False,
            "maxPods": 250,
            # A developer's disk may be as full as it likes.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "eventRecordQPS": 0,
        }

    def _start_proxy(self) -> None:
        client = self.authority.client("kube-proxy", user="system:kube-proxy")
        kubeconfig = self.authority.kubeconfig(self.files.config / "kube-proxy.kubeconfig", client)
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": layout.POD_RANGE,
            "hostnameOverride": layout.NODE_NAME,
            # These limits belong to the whole machine, not to the namespace: leave them alone.
            "conntrack": {
                "maxPerCore": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "iptables": {"minSyncPeriod": "200ms"},
        }
        self.daemons.start(
            "kube-proxy",
            [
                str(self.binaries.kubernetes("kube-proxy")),
                f"--config={_write(self.files.config / 'kube-proxy.json', config)}",
            ],
        )


def _write(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(json.dumps(config, indent=2))
    return path


def _minor_version(kubelet: Path) -> int:
    shown = subprocess.run([kubelet, "--version"], capture_output=True, text=True, check=True)
    return int(shown.stdout.split(".")[1])


def _serves() -> bool:
    """Whether kube-proxy leads on from service addresses; until then nobody answers there."""
    try:
        socket.create_connection((layout.KUBERNETES_SERVICE, 443), timeout=0.2).close()
    except OSError:
        return False
    return True


def _ready(api: Api) -> bool:
    try:
        node = api.get(f"/api/v1/nodes/{layout.NODE_NAME}")
    except (OSError, http.client.HTTPException, ApiError):
        return False
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
    taints = node["spec"].get("taints", ())
    return conditions.get("Ready") == "True" and not taints

"""etcd, the API server, the controller manager and the scheduler."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.cluster import layout
from tests.cluster.api import Api
from tests.cluster.binaries import Binaries
from tests.cluster.certificates import Authority
from tests.cluster.daemons import Daemons
from tests.cluster.errors import ApiError

_ETCD = "http://127.0.0.1:2379"

# A node is never declared lost by the clock. Nodes without a kubelet so stay as a test left them,
# and a test that wants a lost node sets its Ready condition to Unknown: the controller manager
# then taints the node and evicts its pods as it does when a kubelet falls silent.
_NODE_GRACE = "8760h"


class ControlPlane:
    """The control plane of one cluster."""

    def __init__(
        self, *, binaries: Binaries, authority: Authority, daemons: Daemons, config: Path
    ) -> None:
        self._binaries = binaries
        self._authority = authority
        self._daemons = daemons
        self._config = config
        self._signing = authority.signing_key("service-account")

    def start(self) -> None:
        """Start etcd and the API server; returns at once."""
        authority = self._authority
        self._daemons.start(
            "etcd",
            [
                str(self._binaries.etcd),
                *("--data-dir=/run/etcd/data", "--name=node-0"),
                *(f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"),
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                "--initial-cluster=node-0=http://127.0.0.1:2380",
                "--quota-backend-bytes=4294967296",
            ],
        )
        server = authority.server(
            "kube-apiserver",
            names=[
                *("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"),
                f"kubernetes.default.svc.{layout.DOMAIN}",
            ],
            addresses=[layout.NODE_ADDRESS, layout.KUBERNETES_SERVICE, "127.0.0.1"],
        )
        to_kubelet = authority.client(
            "apiserver-kubelet-client", user="kube-apiserver", group="system:masters"
        )
        self._daemons.start(
            "kube-apiserver",
            [
                str(self._binaries.kubernetes("kube-apiserver")),
                f"--etcd-servers={_ETCD}",
                f"--advertise-address={layout.NODE_ADDRESS}",
                f"--service-cluster-ip-range={layout.SERVICE_RANGE}",
                f"--client-ca-file={authority.pair.certificate}",
                f"--tls-cert-file={server.certificate}",
                f"--tls-private-key-file={server.key}",
                f"--kubelet-client-certificate={to_kubelet.certificate}",
                f"--kubelet-client-key={to_kubelet.key}",
                "--kubelet-preferred-address-types=InternalIP",
                "--authorization-mode=Node,RBAC",
                # As on OpenShift: an owner reference that blocks takes a right on the owner.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                "--allow-privileged=true",
                # Nobody here asks for more than a share, and the books of who asked for what take
                # a tenth of what the server takes of the cores.
                "--enable-priority-and-fairness=false",
                f"--service-account-issuer={layout.DEFAULT_AUDIENCE}",
                f"--service-account-signing-key-file={self._signing.key}",
                f"--service-account-key-file={self._signing.certificate}",
                f"--api-audiences={layout.DEFAULT_AUDIENCE},{layout.OPERATOR_AUDIENCE}",
            ],
        )

    def start_controllers(self) -> None:
        """Start the controller manager and the scheduler; the API server must be ready."""
        authority = self._authority
        manager = self._kubeconfig("kube-controller-manager", "system:kube-controller-manager")
        self._daemons.start(
            "kube-controller-manager",
            [
                str(self._binaries.kubernetes("kube-controller-manager")),
                f"--kubeconfig={manager}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={self._signing.key}",
                f"--root-ca-file={authority.pair.certificate}",
                f"--cluster-signing-cert-file={authority.pair.certificate}",
                f"--cluster-signing-key-file={authority.pair.key}",
                f"--node-monitor-grace-period={_NODE_GRACE}",
                # Lost nodes are dealt with at once, and not one in ten seconds or in a hundred.
                *("--node-eviction-rate=100", "--secondary-node-eviction-rate=100"),
                "--large-cluster-size-threshold=0",
                # The defaults suit a cluster of hundreds of nodes that many share.
                *("--kube-api-qps=300", "--kube-api-burst=600"),
            ],
        )
        scheduler = self._kubeconfig("kube-scheduler", "system:kube-scheduler")
        self._daemons.start(
            "kube-scheduler",
            [
                str(self._binaries.kubernetes("kube-scheduler")),
                f"--kubeconfig={scheduler}",
                "--leader-elect=false",
                *("--kube-api-qps=300", "--kube-api-burst=600"),
            ],
        )

    def wait_for_api(self, api: Api) -> None:
        self._daemons.wait_until(
            lambda: _answers(api, "/readyz"), timeout=90, what="a ready API server"
        )

    def wait_for_controllers(self, api: Api) -> None:
        """Wait until pods can be created in the default namespace."""
        self._daemons.wait_until(
            lambda: accepts_pods(api, "default"),
            timeout=60,
            what="the controller manager's first work",
        )

    def _kubeconfig(self, name: str, user: str) -> Path:
        client = self._authority.client(name, user=user)
        return self._authority.kubeconfig(self._config / f"{name}.kubeconfig", client)


def _answers(api: Api, path: str) -> bool:
    try:
        api.text(path)
    except (OSError, http.client.HTTPException, ApiError):
        return False
    return True


def accepts_pods(api: Api, namespace: str) -> bool:
    """Whether pods can be created in a namespace.

    A new one refuses them until it has a service account, up to Kubernetes 1.23 with a token of
    its own, and their containers wait until it has the certificate authority to trust.
    """
    container = {"name": "main", "image": "example.test/none"}
    pod = {"metadata": {"name": "probe"}, "spec": {"containers": [container]}}
    try:
        api.create(f"/api/v1/namespaces/{namespace}/pods", pod, dry_run=True)
    except ApiError as error:
        # Forbidden without an account, a server's timeout without its token.
        if error.status != http.client.FORBIDDEN and error.reason != "ServerTimeout":
            raise
        return False
    return api.exists(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")

"""Cluster DNS: dnsmasq, fed with the names of services and of the pods behind headless ones.

    <service>.<namespace>.svc.cluster.local               the service's address, or all endpoints
    <hostname>.<service>.<namespace>.svc.cluster.local    one endpoint of a headless service

Whether an endpoint that is not ready counts (`publishNotReadyAddresses`) is decided by the
endpoints controller, as for the DNS servers that clusters use. Not served: SRV records, and the
names of anything outside the cluster.

    python -m tests.cluster.dns KUBECONFIG HOSTS-FILE DNSMASQ
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.cluster import layout
from tests.cluster.api import Api
from tests.cluster.binaries import program
from tests.cluster.certificates import Authority
from tests.cluster.daemons import Daemons
from tests.cluster.errors import ApiError

Manifest = dict[str, Any]

_RETRY_SECONDS = 0.5


def start(files: layout.Layout, authority: Authority, daemons: Daemons) -> None:
    """Start the DNS server of a cluster; returns at once."""
    client = authority.client("dns", user="system:kube-dns", group="system:masters")
    kubeconfig = authority.kubeconfig(files.config / "dns.kubeconfig", client)
    arguments = [str(kubeconfig), str(files.config / "hosts"), str(program("dnsmasq"))]
    daemons.start(
        "dns",
        [sys.executable, "-m", "tests.cluster.dns", *arguments],
        # It needs Python's libraries, which may lie where the daemons have a private folder.
        private_files=False,
        cwd=layout.REPOSITORY,
    )


def hosts(services: Iterable[Manifest], endpoints: Iterable[Manifest]) -> str:
    """The names that these objects stand for, in the format of /etc/hosts."""
    lines = set()
    headless = set()
    for service in services:
        address = service["spec"].get("clusterIP")
        if address == "None":
            headless.add(_key(service))
        elif address:
            lines.add(f"{address} {_name(service)}")
    for entry in endpoints:
        if _key(entry) not in headless:
            continue
        for subset in entry.get("subsets") or ():
            for address in subset.get("addresses") or ():
                ip = address["ip"]
                host = address.get("hostname") or ip.replace(".", "-")
                lines.add(f"{ip} {host}.{_name(entry)} {_name(entry)}")
    return "".join(f"{line}\n" for line in sorted(lines))


class Feeder:
    """Keeps dnsmasq's names equal to the cluster's services and endpoints."""

    def __init__(self, api: Api, file: Path, dnsmasq: Path) -> None:
        self._api = api
        self._file = file
        self._dnsmasq = dnsmasq
        self._objects: dict[str, dict[tuple[str, str], Manifest]] = {}
        self._changed = threading.Condition()

    def run(self) -> int:
        """Serve until dnsmasq ends."""
        self._file.write_text("")
        server = subprocess.Popen(
            [
                *(str(self._dnsmasq), "--keep-in-foreground", "--conf-file=/dev/null"),
                *("--user=root", "--group=root", "--pid-file=", "--log-facility=-"),
                *(f"--listen-address={layout.NODE_ADDRESS}", "--bind-interfaces"),
                *("--no-hosts", f"--addn-hosts={self._file}", "--no-resolv", "--local=/#/"),
                *("--local-ttl=1", "--no-negcache"),
            ]
        )
        for kind in ("services", "endpoints"):
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()
        written = ""
        while server.poll() is None:
            with self._changed:
                self._changed.wait(timeout=1)
                text = self._text()
            if text != written:
                self._file.write_text(text)
                server.send_signal(signal.SIGHUP)
                written = text
        return server.returncode

    def _text(self) -> str:
        of = self._objects
        return hosts(of.get("services", {}).values(), of.get("endpoints", {}).values())

    def _follow(self, kind: str) -> None:
        while True:
            try:
                self._list_and_watch(kind)
            except (OSError, http.client.HTTPException, ApiError) as error:
                print(f"{kind}: {error}; trying again", flush=True)
                time.sleep(_RETRY_SECONDS)

    def _list_and_watch(self, kind: str) -> None:
        listed = self._api.get(f"/api/v1/{kind}")
        with self._changed:
            self._objects[kind] = {_key(item): item for item in listed["items"]}
            self._changed.notify()
        since = listed["metadata"]["resourceVersion"]
        for event in self._api.watch(f"/api/v1/{kind}", since=since):
            if event["type"] == "ERROR":
                return  # too old a version: list again
            item = event["object"]
            with self._changed:
                if event["type"] == "DELETED":
                    self._objects[kind].pop(_key(item), None)
                else:
                    self._objects[kind][_key(item)] = item
                self._changed.notify()


def _key(item: Manifest) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _name(item: Manifest) -> str:
    namespace, name = _key(item)
    return f"{name}.{namespace}.svc.{layout.DOMAIN}"


if __name__ == "__main__":
    kubeconfig, file, dnsmasq = map(Path, sys.argv[1:])
    sys.exit(Feeder(Api.from_kubeconfig(kubeconfig), file, dnsmasq).run())

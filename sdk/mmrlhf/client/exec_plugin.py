"""Credential plugins: programs that a kubeconfig names, asked as kubectl asks them.

The protocol is ExecCredential of ``client.authentication.k8s.io`` in v1 and v1beta1, as
kubernetes.io/docs/reference/access-authn-authz/authentication says it under client-go credential
plugins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mmrlhf.client.credentials import Credential, NoCredentialError, bearer
from mmrlhf.client.kubeconfig import KubeconfigError

__all__ = ["Plugin", "read_plugin"]

_GROUP: Final = "client.authentication.k8s.io"
_VERSIONS: Final = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_MODES: Final = ("Never", "IfAvailable", "Always")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plugin as a user entry names it.

    Attributes:
        command: The program, as a path or as a name of the PATH.
        arguments: Its arguments.
        version: ``apiVersion`` of what it reads and answers.
        environment: Variables that it gets besides those of this process.
        mode: Never, IfAvailable or Always: whether it may talk to the user.
        hint: How it is installed; empty where the kubeconfig does not say.
        cluster: What it is told of the cluster; None for nothing.
    """

    command: str
    arguments: tuple[str, ...]
    version: str
    environment: Mapping[str, str]
    mode: str
    hint: str
    cluster: Mapping[str, Any] | None

    def run(self) -> Credential:
        """Ask it for a credential.

        Raises:
            NoCredentialError: It gives none.
        """
        talks = self.mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
        if self.mode == "Always" and not talks:
            raise self._failed(
                "must talk to the user (interactiveMode Always), and standard input is no terminal"
            )
        asked: dict[str, Any] = {
            "apiVersion": self.version,
            "kind": "ExecCredential",
            "spec": {"interactive": talks},
        }
        if self.cluster is not None:
            asked["spec"]["cluster"] = self.cluster
        # What it says to a person is shown at once on a terminal, and else told if it fails.
        shown = talks or (sys.stderr is not None and sys.stderr.isatty())
        try:
            done = subprocess.run(
                [self.command, *self.arguments],
                env={
                    **os.environ,
                    **self.environment,
                    "KUBERNETES_EXEC_INFO": json.dumps(asked),
                },
                stdin=None if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if shown else subprocess.PIPE,
                check=False,
            )
        except FileNotFoundError as error:
            hint = f"; {' '.join(self.hint.split())}" if self.hint else ""
            raise self._failed(f"is not installed{hint}") from error
        except OSError as error:
            raise self._failed(f"cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            said = (done.stderr or b"").decode(errors="replace").strip()
            why = f": {said}" if said else ""
            raise self._failed(f"ended with exit code {done.returncode}{why}")
        return self._read(done.stdout)

    def _read(self, output: bytes) -> Credential:
        try:
            answer = json.loads(output)
        except (ValueError, RecursionError) as error:
            raise self._failed("answers with something that is no JSON") from error
        answer = _mapping(answer)
        if answer.get("kind") != "ExecCredential":
            raise self._failed("answers with no ExecCredential")
        if answer.get("apiVersion") != self.version:
            raise self._failed(
                f"answers in {answer.get('apiVersion')}, and the kubeconfig asks for {self.version}"
            )
        status = _mapping(answer.get("status"))
        token, certificate, key = (
            value if isinstance(value := status.get(name), str) and value else None
            for name in ("token", "clientCertificateData", "clientKeyData")
        )
        if (certificate is None) != (key is None):
            raise self._failed("gives a certificate or a key, and not both")
        if token is None and certificate is None:
            raise self._failed("gives neither a token nor a certificate")
        what = f"the token of the credential plugin {self.command}"
        return Credential(
            authorization=None if token is None else bearer(token, what),
            certificate=None if certificate is None else certificate.encode(),
            key=None if key is None else key.encode(),
            expires=self._expiry(status.get("expirationTimestamp")),
        )

    def _failed(self, why: str) -> NoCredentialError:
        return NoCredentialError(f"the credential plugin {self.command} {why}")

    def _expiry(self, text: object) -> datetime | None:
        if text is None:
            return None
        try:
            expires = datetime.fromisoformat(str(text))
        except ValueError as error:
            raise self._failed(f"gives {text} as expirationTimestamp") from error
        return expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)


def read_plugin(entry: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> Plugin:
    """Return the plugin that ``users[].user.exec`` describes.

    Args:
        entry: What stands there.
        folder: Folder of the kubeconfig, from where relative paths of programs start.
        cluster: What it is told where it asks for that.

    Raises:
        KubeconfigError: It is described wrongly.
    """
    command, version = entry.get("command"), entry.get("apiVersion")
    if not isinstance(command, str) or not command:
        raise KubeconfigError("exec.command names no program")
    if version not in _VERSIONS:
        raise KubeconfigError(f"exec.apiVersion must be {' or '.join(_VERSIONS)}, and is {version}")
    mode = entry.get("interactiveMode")
    if mode is None and version != _VERSIONS[0]:
        mode = "IfAvailable"
    if mode not in _MODES:
        raise KubeconfigError(
            f"exec.interactiveMode must be one of {', '.join(_MODES)}, and is {mode or 'not given'}"
        )
    return Plugin(
        # A path with folders starts from the kubeconfig; a name alone is one of the PATH.
        command=str(folder / command) if os.path.dirname(command) else command,  # noqa: PTH120
        arguments=tuple(str(one) for one in entry.get("args") or ()),
        version=version,
        environment=dict(_variable(one) for one in entry.get("env") or ()),
        mode=mode,
        hint=str(entry.get("installHint") or ""),
        cluster=cluster if entry.get("provideClusterInfo") else None,
    )


def _variable(entry: object) -> tuple[str, str]:
    if not isinstance(entry, Mapping) or not entry.get("name"):
        raise KubeconfigError("exec.env has an entry without a name")
    return str(entry["name"]), str(entry.get("value") or "")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

"""Credential plugins, by the protocol that client-go documents."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.client.access import find_access
from mmrlhf.client.connection import Connection
from mmrlhf.client.credentials import Credential, FromFile, NoCredentialError, Renewed
from mmrlhf.client.exec_plugin import Plugin, read_plugin
from mmrlhf.errors import CredentialsError
from tests.unit.sdk.test_kubeconfig import V1, b64, written

V1BETA1 = "client.authentication.k8s.io/v1beta1"
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal:
    """Standard input of somebody who sits there."""

    def isatty(self) -> bool:
        return True


def plugin(script: str, **entry: Any) -> Plugin:
    """A plugin that a shell runs; what it was asked is in the variable, as in the protocol."""
    body = {
        "apiVersion": V1,
        "command": "sh",
        "args": ["-c", script],
        "interactiveMode": "Never",
        **entry,
    }
    return read_plugin(body, Path("/nowhere"), {"server": "https://k8s"})


def says(version: str = V1, kind: str = "ExecCredential", **status: str) -> str:
    return f"echo '{json.dumps({'apiVersion': version, 'kind': kind, 'status': status})}'"


def asked(**entry: Any) -> dict[str, Any]:
    """What a plugin is asked: it gives that back as its token."""
    script = """python3 -c '
import json, os
asked = os.environ["KUBERNETES_EXEC_INFO"]
answer = {"apiVersion": json.loads(asked)["apiVersion"], "kind": "ExecCredential"}
print(json.dumps(answer | {"status": {"token": asked}}))'"""
    shown = plugin(script.replace("python3", sys.executable), **entry).run().authorization
    assert shown is not None
    found: dict[str, Any] = json.loads(shown.removeprefix("Bearer "))
    return found


def test_it_is_asked_as_client_go_asks() -> None:
    wanted = {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}
    assert asked() == wanted
    beta = asked(apiVersion=V1BETA1, interactiveMode=None)
    assert beta == wanted | {"apiVersion": V1BETA1}
    told = asked(provideClusterInfo=True)["spec"]
    assert told == {"interactive": False, "cluster": {"server": "https://k8s"}}


def test_it_is_told_all_of_the_cluster_that_it_asks_for(tmp_path: Path) -> None:
    script = """echo "$KUBERNETES_EXEC_INFO" > asked; """ + says(token="t")
    entry = {
        "apiVersion": V1,
        "command": "sh",
        "args": ["-c", f"cd {tmp_path}; {script}"],
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": True,
    }
    cluster: dict[str, Any] = {
        "certificate-authority": "ca.pem",
        "tls-server-name": "kubernetes",
        "insecure-skip-tls-verify": True,
        "proxy-url": "http://proxy:1",
        "extensions": [
            {"name": "other", "extension": 1},
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}},
        ],
    }
    path = written(tmp_path / "config", user={"exec": entry}, **cluster)
    (tmp_path / "ca.pem").write_text("AUTHORITY")
    find_access(Connection(kubeconfig=path))
    assert json.loads((tmp_path / "asked").read_text())["spec"]["cluster"] == {
        "server": "https://k8s:6443",
        "certificate-authority-data": b64("AUTHORITY"),
        "tls-server-name": "kubernetes",
        "insecure-skip-tls-verify": True,
        "proxy-url": "http://proxy:1",
        "config": {"audience": "x"},
    }


def test_who_sits_there_is_talked_to_unless_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    for mode, interactive in {"Never": False, "IfAvailable": True, "Always": True}.items():
        assert asked(interactiveMode=mode)["spec"]["interactive"] is interactive


def test_one_that_must_talk_is_not_started_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NoCredentialError, match=r"sh must talk to the user .*is no terminal$"):
        plugin(f"touch {tmp_path}/started", interactiveMode="Always").run()
    assert not (tmp_path / "started").exists()


def test_it_has_variables_of_its_own() -> None:
    env = [{"name": "REGION", "value": "x"}, {"name": "HOME", "value": "/y"}]
    script = (
        f"""test -n "$PATH" && printf '{{"apiVersion": "{V1}", "kind": "ExecCredential","""
        """ "status": {"token": "%s"}}' "$REGION$HOME" """
    )
    assert plugin(script, env=env).run().authorization == "Bearer x/y"


def test_relative_programs_are_beside_the_file_and_names_in_the_path(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "login"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{says(token='t')}\n")
    program.chmod(0o755)
    entry = {"apiVersion": V1, "command": "./bin/login", "interactiveMode": "Never"}
    path = written(tmp_path / "config", user={"exec": entry})
    shown = find_access(Connection(kubeconfig=path)).credentials.current()
    assert shown.authorization == "Bearer t"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo log in first >&2; exit 3", "ended with exit code 3: log in first"),
        ("exit 1", "ended with exit code 1"),
        ("echo hello", "answers with something that is no JSON"),
        ("echo []", "answers with no ExecCredential"),
        (says(kind="Secret", token="t"), "answers with no ExecCredential"),
        (
            says(version=V1BETA1, token="t"),
            f"answers in {V1BETA1}, and the kubeconfig asks for {V1}",
        ),
        (says(), "gives neither a token nor a certificate"),
        (says(token=""), "gives neither a token nor a certificate"),
        (says(clientCertificateData="C"), "gives a certificate or a key, and not both"),
        (says(clientKeyData="K", token="t"), "gives a certificate or a key, and not both"),
        (says(token="t", expirationTimestamp="soon"), "gives soon as expirationTimestamp"),
    ],
)
def test_what_it_fails_by_is_told(script: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(NoCredentialError) as caught:
        plugin(script).run()
    assert str(caught.value) == f"the credential plugin sh {told}"
    entry = {"apiVersion": V1, "command": "sh", "args": ["-c", script], "interactiveMode": "Never"}
    path = written(tmp_path / "config", user={"exec": entry})
    with pytest.raises(CredentialsError) as whole:
        find_access(Connection(kubeconfig=path))
    where = f"context c of {path}"
    assert str(whole.value) == f"no credentials for {where}: the credential plugin sh {told}"


def test_how_one_that_is_missing_is_installed_is_told() -> None:
    hint = "Install it:\n  brew install acme-login"
    missing = plugin("", command="acme-login", installHint=hint)
    with pytest.raises(NoCredentialError, match="acme-login is not installed; Install it: brew"):
        missing.run()


def test_one_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("no program")
    with pytest.raises(NoCredentialError, match="cannot be started: Permission denied"):
        plugin("", command=str(tmp_path / "login")).run()


def test_both_a_token_and_a_certificate_are_shown() -> None:
    script = says(
        token="t",
        clientCertificateData="C",
        clientKeyData="K",
        expirationTimestamp="2026-01-01T00:00:00Z",
    )
    wanted = Credential(authorization="Bearer t", certificate=b"C", key=b"K", expires=AT)
    assert plugin(script).run() == wanted
    own = Credential(authorization="Basic x", certificate=b"own", key=b"own")
    assert wanted.over(own) == wanted
    token = Credential(authorization="Bearer t")
    assert token.over(own) == Credential(authorization="Bearer t", certificate=b"own", key=b"own")


def test_it_is_asked_again_once_expired_or_refused() -> None:
    now = [AT]
    made: list[Credential] = []

    def make() -> Credential:
        expires = now[0] + timedelta(hours=1) if len(made) < 2 else None
        made.append(Credential(authorization=f"Bearer {len(made)}", expires=expires))
        return made[-1]

    credentials = Renewed(make, now=lambda: now[0])
    first = credentials.current()
    now[0] += timedelta(minutes=59)
    assert credentials.current() is first
    now[0] += timedelta(minutes=1)
    second = credentials.current()
    assert (len(made), second.authorization) == (2, "Bearer 1")
    assert credentials.current(refused=first) is second  # another thread has asked meanwhile
    third = credentials.current(refused=second)
    assert (len(made), third.authorization) == (3, "Bearer 2")
    now[0] += timedelta(days=365)
    assert credentials.current() is third  # without an end it is good until it is refused


def test_a_token_of_a_file_is_read_again_each_minute_or_once_refused(tmp_path: Path) -> None:
    clock = [0.0]
    path = tmp_path / "token"
    path.write_text("a")
    credentials = FromFile(path, Credential(), clock=lambda: clock[0])
    path.write_text("b\n")
    clock[0] = 59.0
    first = credentials.current()
    assert first.authorization == "Bearer a"
    assert credentials.current(refused=first).authorization == "Bearer b"
    path.write_text("c")
    clock[0] = 119.0
    assert credentials.current().authorization == "Bearer c"
    path.write_text("")  # it is being replaced
    clock[0] = 200.0
    assert credentials.current().authorization == "Bearer c"
    path.unlink()
    assert credentials.current().authorization == "Bearer c"
    with pytest.raises(FileNotFoundError):
        FromFile(path, Credential())

"""Kubeconfigs: read as the official client reads them, and as kubectl does where that differs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config as oracle
from kubernetes.client import Configuration

from mmrlhf.client.access import Access, find_access
from mmrlhf.client.connection import Connection
from mmrlhf.client.credentials import Credential
from mmrlhf.client.proxies import find_proxy
from mmrlhf.errors import CredentialsError, NoClusterError, UsageError

PROXIES = [f"{name}_PROXY" for name in ("HTTPS", "HTTP", "ALL", "NO")]
JWT = "eyJhbGciOiJub25lIn0.e30.c2ln"  # without an end
V1 = "client.authentication.k8s.io/v1"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def answered(**status: str) -> dict[str, Any]:
    """A plugin that answers with a status."""
    answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
    return {
        "apiVersion": V1,
        "command": "sh",
        "args": ["-c", f"echo '{json.dumps(answer)}'"],
        "interactiveMode": "Never",
    }


def written(
    path: Path,
    *,
    user: Mapping[str, Any] | None = None,
    name: str = "c",
    context: Mapping[str, Any] | None = None,
    **cluster: Any,
) -> str:
    """Write a kubeconfig of one cluster, user and context, all of the same name."""
    path.parent.mkdir(exist_ok=True)
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": "https://k8s:6443", **cluster}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, **(context or {})}}],
        "current-context": name,
    }
    path.write_text(yaml.safe_dump(body))
    return str(path)


def content(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def ours(access: Access) -> dict[str, Any]:
    shown = access.credentials.current()
    return {
        "host": access.server,
        "ca": access.tls.ca,
        "verify": access.tls.verify,
        "server name": access.tls.server_name,
        "certificate": shown.certificate,
        "key": shown.key,
        "header": shown.authorization,
        "proxy": access.proxy,
    }


def theirs(path: str, context: str | None = None) -> dict[str, Any]:
    found = Configuration()
    oracle.load_kube_config(path, context, client_configuration=found, persist_config=False)
    return {
        "host": found.host,
        "ca": content(found.ssl_ca_cert),
        "verify": found.verify_ssl,
        "server name": found.tls_server_name,
        "certificate": content(found.cert_file),
        "key": content(found.key_file),
        "header": found.get_api_key_with_prefix("BearerToken"),
        "proxy": found.proxy,
    }


CASES: dict[str, dict[str, Any]] = {
    "nobody": {},
    "no user at all": {"context": {"user": None}},
    "a slash too many": {"server": "https://k8s:6443/"},
    "plain": {"server": "http://k8s:8080"},
    "authority by file": {"certificate-authority": "ca.pem"},
    "authority by data": {"certificate-authority-data": b64("AUTHORITY")},
    "unchecked": {"insecure-skip-tls-verify": True},
    "another name": {"tls-server-name": "kubernetes.default"},
    "a proxy": {"proxy-url": "http://proxy:3128"},
    "certificate by file": {
        "user": {"client-certificate": "cert.pem", "client-key": "key.pem"},
        "certificate-authority": "ca.pem",
    },
    "certificate by data": {
        "user": {"client-certificate-data": b64("CERT"), "client-key-data": b64("KEY")}
    },
    "data before files": {
        "user": {"client-certificate-data": b64("CERT"), "client-certificate": "cert.pem"}
    },
    "token": {"user": {"token": "secret"}},
    "token by file": {"user": {"tokenFile": "token"}},
    "token and certificate": {"user": {"token": "secret", "client-certificate": "cert.pem"}},
    "password": {"user": {"username": "jane", "password": "p:w"}},
    "token before password": {"user": {"token": "t", "username": "jane", "password": "pw"}},
    "plugin with a token": {"user": {"exec": answered(token="secret")}},
    "plugin with a certificate": {
        "user": {"exec": answered(clientCertificateData="CERT", clientKeyData="KEY")}
    },
    "plugin before password": {
        "user": {"exec": answered(token="secret"), "username": "jane", "password": "pw"}
    },
    "token before plugin": {"user": {"token": "own", "exec": answered(token="other")}},
    "auth provider": {
        "user": {"auth-provider": {"name": "oidc", "config": {"id-token": JWT}}},
    },
}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no cluster, and files to name."""
    for name in (*PROXIES, "KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in {"ca": "AUTHORITY", "cert": "CERT", "key": "KEY"}.items():
        (tmp_path / f"{name}.pem").write_text(text)
    (tmp_path / "token").write_text("secret")


@pytest.mark.parametrize("case", CASES)
def test_the_official_client_reads_the_same(case: str, tmp_path: Path) -> None:
    path = written(tmp_path / "config", **CASES[case])
    found = ours(find_access(Connection(kubeconfig=path)))
    assert found == theirs(path)
    assert found["host"].startswith("http")


def test_several_files_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is that of the first file that has it; paths start from their own file."""
    one = written(tmp_path / "one" / "config", user={"token": "one"}, name="a")
    authority: dict[str, Any] = {"certificate-authority": "own.pem"}
    two = written(
        tmp_path / "two" / "config",
        name="b",
        user={"client-certificate": "own.pem", "client-key": "own.pem"},
        **authority,
    )
    (tmp_path / "two" / "own.pem").write_text("TWO")
    three = written(tmp_path / "three", user={"token": "three"}, name="a", server="https://other")
    paths = os.pathsep.join([one, "", "/nowhere/config", three, two])
    monkeypatch.setenv("KUBECONFIG", paths)
    for context in ("a", "b"):
        found = ours(find_access(Connection(context=context)))
        assert found == theirs(paths, context)
    first = find_access(Connection())  # the official client takes the last current-context
    assert (first.context, first.server) == ("a", "https://k8s:6443")
    assert ours(first)["header"] == "Bearer one"


def test_json_is_a_kubeconfig_too(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "config", user={"token": "t"}))
    path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    assert ours(find_access(Connection(kubeconfig=str(path)))) == theirs(str(path))


def test_what_options_say_goes_before_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path / "config",
        context={"namespace": "vision"},
        user={"client-certificate": "cert.pem", "client-key": "key.pem", "username": "jane"},
    )
    found = find_access(Connection(kubeconfig=path, server="https://other:1/", token="mine"))
    shown = Credential(authorization="Bearer mine")
    assert (found.server, found.credentials.current()) == ("https://other:1", shown)
    assert (found.namespace, found.user, found.context) == ("vision", None, "c")
    assert find_access(Connection(kubeconfig=path, namespace="x")).namespace == "x"


def test_whom_the_file_acts_as_is_kept(tmp_path: Path) -> None:
    user = {
        "as": "ann",
        "as-uid": "1",
        "as-groups": ["dev", "ops"],
        "as-user-extra": {"example.org/why": ["tests"]},
    }
    path = written(tmp_path / "config", user=user)
    rest = (
        ("Impersonate-Uid", "1"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-example.org%2Fwhy", "tests"),
    )
    found = find_access(Connection(kubeconfig=path))
    assert found.acting == (("Impersonate-User", "ann"), *rest)
    found = find_access(Connection(kubeconfig=path, as_user="bob"))
    assert found.acting == (("Impersonate-User", "bob"), *rest)


def test_a_token_of_a_file_has_no_end_of_line_and_goes_before_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fresh\n")
    path = written(tmp_path / "config", user={"token": "old", "tokenFile": "token"})
    access = find_access(Connection(kubeconfig=path))
    assert access.credentials.current().authorization == "Bearer fresh"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"certificate-authority": "no.pem"},
            r"cluster c: certificate-authority .*no.pem: No",
        ),
        (
            {"certificate-authority-data": "%"},
            r"cluster c: certificate-authority-data is no base",
        ),
        ({"server": None}, r"cluster c has no server$"),
        ({"server": ["a"]}, r"cluster c: server is no text$"),
        ({"user": {"tokenFile": "nowhere"}}, r"No such file or directory: '.*nowhere'$"),
        ({"user": {"client-key": "no.pem"}}, r"user c: client-key .*no.pem: No such"),
        ({"user": {"exec": ["sh"]}}, r"user c: exec is no mapping$"),
        ({"user": {"exec": {}, "as-groups": 1}}, r"'int' object is not iterable$"),
        ({"user": {"exec": {"apiVersion": V1}}}, r"exec.command names no program$"),
        (
            {"user": {"exec": {"apiVersion": "v1", "command": "x"}}},
            r"exec.apiVersion must be client.authentication.k8s.io/v1 or .*/v1beta1, and is v1$",
        ),
        (
            {"user": {"exec": {"apiVersion": V1, "command": "x"}}},
            r"exec.interactiveMode must be one of Never, IfAvailable, Always, and is not given$",
        ),
        ({"context": {"cluster": "d"}}, r"context c names cluster d, and there is none of"),
        ({"context": {"user": "d"}}, r"context c names user d, and there is none of that name$"),
        ({"context": {"cluster": None}}, r"context c names no cluster$"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = written(tmp_path / "config", **changes)
    with pytest.raises(UsageError, match=told) as caught:
        find_access(Connection(kubeconfig=path))
    assert str(caught.value).startswith(f"kubeconfig {path}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "current-context is not set; there are none"),
        ("contexts: [{name: a, context: {}}]", "current-context is not set; there are a"),
        (
            "{contexts: [{name: prod}], current-context: prd}",
            "there is no context prd, its current-context; did you mean prod?",
        ),
        ("- a", "holds no mapping"),
        ("clusters: 1", "clusters is no list"),
        ("users: [{user: {}}]", "users has an entry without a name"),
        ("contexts: [{name: a, context: b}]", "context a is no mapping"),
        ("a: [}", "expected"),
    ],
)
def test_files_that_are_none_are_told(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        find_access(Connection(kubeconfig=str(path)))
    assert str(caught.value).startswith(f"kubeconfig {path}: ")
    assert told in str(caught.value)


def test_a_provider_that_nobody_knows_gives_no_credentials(tmp_path: Path) -> None:
    path = written(tmp_path / "config", user={"auth-provider": {"name": "azure"}})
    with pytest.raises(CredentialsError, match="the auth provider 'azure' is not known"):
        find_access(Connection(kubeconfig=path))


def test_a_pod_without_an_account_has_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(NoClusterError, match="no service account to speak to the cluster with"):
        find_access(Connection())


SERVERS = ["https://api.example.org:6443", "http://10.0.0.1", "https://[fd00::1]:6443", "https://x"]
EXCEPTIONS = [
    "", "*", "example.org", ".example.org", "api.example.org:6443", "10.0.0.0/8", "fd00::/8",
    "example.com, x", "rg", "10.0.0.1", "org,",
]  # fmt: skip


@pytest.mark.parametrize("exceptions", EXCEPTIONS)
@pytest.mark.parametrize("server", SERVERS)
def test_the_official_client_takes_the_same_proxy(
    server: str, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.client.rest import should_bypass_proxies

    for variables in (
        {"HTTPS_PROXY": "http://tls:1", "HTTP_PROXY": "http://plain:1"},
        {"all_proxy": "http://all:1", "http_proxy": "http://plain:1"},
        {},
    ):
        with monkeypatch.context() as patch:
            for name, value in {**variables, "NO_PROXY": exceptions}.items():
                patch.setenv(name, value)
            wanted = Configuration(host=server).proxy
            if should_bypass_proxies(server, exceptions):
                wanted = None
            assert find_proxy(server, os.environ) == wanted


def test_nothing_of_the_official_client_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path / "config", user=CASES["certificate by data"]["user"])
    code = f"""
import sys
from mmrlhf.client.access import find_access
from mmrlhf.client.connection import Connection
find_access(Connection(kubeconfig={path!r}))
print(*({{name.split(".")[0] for name in sys.modules}}
      & {{"kubernetes", "pydantic", "requests", "oauthlib", "websocket", "urllib3", "ssl"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


SECRET = "c2VjcmV0"


def gives(token: str) -> dict[str, Any]:
    """A plugin that gives a token, as JSON whatever is in it."""
    return {**answered(), "args": ["-c", "printf %s \"$1\"", "sh", json.dumps(
        {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": token}}
    )]}  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (f"{SECRET}\n", "a line break at its end"),
        (f"{SECRET}\r\n{SECRET}", "a line break after 8 of its characters"),
        (f"{SECRET}\n {SECRET}", "a line break after 8 of its characters"),
        (f"\x00{SECRET}", "the character U+0000 after 0 of its characters"),
        (f"{SECRET}\x7f", "the character U+007F at its end"),
    ],
)
@pytest.mark.parametrize("place", ["option", "server", "user", "file", "plugin", "as", "group"])
def test_what_no_header_can_have_is_told_with_its_place_and_never_shown(
    place: str, broken: str, told: str, tmp_path: Path
) -> None:
    users: dict[str, dict[str, Any]] = {
        "user": {"token": broken},
        "file": {"tokenFile": "token"},
        "plugin": {"exec": gives(broken)},
        "group": {"as-groups": ["a", broken]},
    }
    path = written(tmp_path / "config", user=users.get(place))
    (tmp_path / "token").write_bytes(f"{broken}.".encode())  # its ends are cut off
    given: dict[str, dict[str, Any]] = {
        "option": {"token": broken, "kubeconfig": path},
        "server": {"token": broken, "server": "https://k8s"},
        "as": {"as_user": broken, "kubeconfig": path},
    }
    with pytest.raises((UsageError, CredentialsError)) as caught:
        find_access(Connection(**given.get(place, {"kubeconfig": path})))
    begin = {
        "option": "token has ",
        "server": "token has ",
        "user": f"kubeconfig {path}: user c: token has ",
        "file": f"kubeconfig {path}: the token in {tmp_path}/token has ",
        "plugin": f"no credentials for context c of {path}: the token of the credential plugin sh",
        "as": "as has ",
        "group": f"kubeconfig {path}: user c: Impersonate-Group has ",
    }[place]
    message = str(caught.value)
    assert message.startswith(begin)
    assert message.endswith(", and HTTP can send none; remove it")
    assert told.replace("at its end", "") in message
    assert SECRET not in message


def test_a_token_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes("secret".encode("utf-16"))
    path = written(tmp_path / "config", user={"tokenFile": "token"})
    with pytest.raises(UsageError, match=r"the token in .*/token is no text in UTF-8$"):
        find_access(Connection(kubeconfig=path))


DEEP = {
    "flow": "[" * 101 + "]" * 101,
    "flow over lines": "[\n" * 101 + "]\n" * 101,
    "objects": '{"a":' * 101 + "1" + "}" * 101,
    "indented": "".join(f"{' ' * n}a:\n" for n in range(101)),
    "lists at the column of their mappings": "".join(
        f"{' ' * 2 * n}a:\n{' ' * 2 * n}-\n" for n in range(51)
    ),
    "lists on a line": "- " * 101 + "a",
    "keys on a line": "? " * 101 + "a",
    "in turn on a line": "- ? " * 51 + "a",
    "values": "? a\n" + "".join(f"{'  ' * n}: ? a\n" for n in range(101)),
    "other ends of lines": "".join(f"{' ' * n}a:\x85" for n in range(101)),
    "and others": "".join(f"{' ' * n}a:\u2028" for n in range(101)),
}


@pytest.mark.parametrize("form", DEEP)
def test_none_is_read_that_is_nested_too_deeply(form: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(DEEP[form], encoding="utf-8")
    with pytest.raises(UsageError, match=r"it is nested too deeply$"):
        find_access(Connection(kubeconfig=str(path)))


def test_one_as_it_mostly_is_is_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(yaml, "parse")  # `load` does without
    path = written(tmp_path / "config", user={"exec": answered(token="t")})
    assert ours(find_access(Connection(kubeconfig=path)))["header"] == "Bearer t"

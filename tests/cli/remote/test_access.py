"""Finding the cluster, and what is told when it cannot be used."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mmrlhf_api.pipelines.resources import all_resources
from tests.cli.conftest import Result
from tests.cli.remote.conftest import Ctl
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.cluster.kinds import CRDS, forget_kinds
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE

Command = Callable[..., subprocess.CompletedProcess[str]]
Kubeconfig = Callable[..., str]

in_cluster = pytest.mark.cluster


def one_line(done: Result, code: int) -> str:
    """Check that a command failed with one line on standard error, and return that."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def stub_kubeconfig(folder: Path, server: str, **user: object) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "jane", "user": user}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "jane"}}],
        "current-context": "prod",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_a_server_that_is_not_there(command: Command, tmp_path: Path) -> None:
    path = stub_kubeconfig(tmp_path, "https://127.0.0.1:1")
    line = one_line(command("get", "--kubeconfig", path), 5)
    assert line == (
        "error: cannot reach the cluster at https://127.0.0.1:1 (context prod): connection refused"
    )


def test_a_name_that_does_not_resolve(command: Command, tmp_path: Path) -> None:
    path = stub_kubeconfig(tmp_path, "https://k8s.invalid:6443")
    line = one_line(command("get", KUBECONFIG=path), 5)
    assert "its name does not resolve" in line


def test_an_issuer_of_tokens_that_is_away(command: Command, tmp_path: Path) -> None:
    expired = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9."  # {"exp": 1}
    config = {
        "client-id": "x",
        "id-token": expired,
        "idp-issuer-url": "https://127.0.0.1:1",
        "refresh-token": "r",
    }
    provider = {"name": "oidc", "config": config}
    path = stub_kubeconfig(tmp_path, "http://127.0.0.1:1", **{"auth-provider": provider})
    line = one_line(command("status", KUBECONFIG=path), 5)
    where = f"context prod of {path}"
    assert line == f"error: no credentials for {where}: the issuer of its tokens does not answer"


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        (
            {"name": "azure", "config": {}},
            "the auth provider 'azure' is not known; use a credential",
        ),
        ({"name": "oidc", "config": {"id-token": "a.e30.c"}}, "cannot reach the cluster"),
        ({"name": "gcp", "config": {"expiry": "never"}}, "the auth provider 'gcp' is not known"),
    ],
)
def test_credentials_that_cannot_be_had(
    command: Command, tmp_path: Path, provider: dict[str, object], told: str
) -> None:
    path = stub_kubeconfig(tmp_path, "http://127.0.0.1:1", **{"auth-provider": provider})
    done = command("status", KUBECONFIG=path)
    assert (done.returncode, done.stdout) == (5, "")
    assert told in done.stderr
    assert "bug" not in done.stderr


def test_a_server_that_does_not_answer(command: Command, tmp_path: Path) -> None:
    """A socket that accepts and says nothing."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = stub_kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        line = one_line(command("get", "--request-timeout=1s", KUBECONFIG=path), 5)
    assert "it does not answer in time" in line


def test_a_server_that_is_something_else(command: Command, tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        path = stub_kubeconfig(tmp_path, f"http://127.0.0.1:{port}")
        (tmp_path / "version").write_text("hello")
        line = one_line(command("doctor", "-o", "json", KUBECONFIG=path), 5)
    finally:
        server.kill()
        server.communicate()
    assert "does not answer as a Kubernetes API server does" in line


def test_configurations_that_are_wrong(command: Command, tmp_path: Path) -> None:
    path = stub_kubeconfig(tmp_path, "https://127.0.0.1:1")
    broken = tmp_path / "broken"
    broken.write_text("clusters: [}")
    for arguments, code, message in (
        (["get", "--kubeconfig", "nowhere"], 2, "--kubeconfig nowhere: no such file"),
        (["get", "--kubeconfig", path, "--context", "prd"], 2, "did you mean prod?"),
        (["get", "--kubeconfig", str(broken)], 2, "broken"),
        (["get", "--kubeconfig", path, "--token=a\nb"], 2, "--token has a line break after 1 of"),
        (["get", "--kubeconfig", path, "-n", "../x"], 2, "--namespace ../x: there can be none"),
        (["get", "--kubeconfig", path, "-n", "a,b"], 2, "--namespace a,b: there can be none"),
        (["get", "--kubeconfig", path, "--as=a\n"], 2, "--as has a line break at its end"),
    ):
        assert message in one_line(command(*arguments), code)
    nothing = command("get", KUBECONFIG="/nowhere", KUBERNETES_SERVICE_HOST="")
    assert "no cluster is configured: /nowhere does not exist" in one_line(nothing, 5)


def test_a_credential_plugin_that_fails(command: Command, tmp_path: Path) -> None:
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", "echo 'session expired: run acme login' >&2; exit 1"],
        "interactiveMode": "Never",
    }
    path = stub_kubeconfig(tmp_path, "https://127.0.0.1:1", exec=plugin)
    line = one_line(command("get", KUBECONFIG=path), 5)
    assert line.startswith("error: no credentials for context prod")
    assert "session expired: run acme login" in line


@in_cluster
def test_credentials_that_are_refused(ctl: Ctl, kubeconfig: Kubeconfig) -> None:
    path = kubeconfig(user={"token": "expired"})
    line = one_line(ctl("get", "--kubeconfig", path), 5)
    assert "refuses the credentials of user" in line
    assert "log in again" in line


@in_cluster
def test_a_server_with_a_certificate_of_someone_else(ctl: Ctl, tmp_path: Path) -> None:
    config = yaml.safe_load(ctl.cluster.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]["server"]
    line = one_line(ctl("get", "--kubeconfig", stub_kubeconfig(tmp_path, server)), 5)
    assert "certificate verify failed" in line


@in_cluster
def test_what_is_forbidden_is_named(ctl: Ctl, kubeconfig: Kubeconfig, token: str) -> None:
    path = kubeconfig(user={"token": token})
    user = f"system:serviceaccount:{ctl.namespace}:nobody"
    where = f"in namespace {ctl.namespace}"
    ctl.job()
    for arguments, verb in (
        (["get"], "list mmdpojobs.mmrlhf.io"),
        (["get", "rtj", "-w"], "list rewardtrainjobs.mmrlhf.io"),
        (["status", "digits"], "get mmdpojobs.mmrlhf.io"),
        (["delete", "csj/x"], "get clustersamplejobs.mmrlhf.io"),
    ):
        line = one_line(ctl(*arguments, "--kubeconfig", path), 5)
        assert f"user {user} may not {verb} {where}" in line


@in_cluster
def test_pods_and_events_may_be_out_of_sight(ctl: Ctl, kubeconfig: Kubeconfig, token: str) -> None:
    path = kubeconfig(user={"token": token})
    ctl.job()
    api, name = ctl.cluster.api, f"reader-{ctl.namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ctl.namespace}"
    rule = {"apiGroups": ["mmrlhf.io"], "resources": ["*"], "verbs": ["get", "list"]}
    api.create(f"{rbac}/roles", {"metadata": {"name": name}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "nobody", "namespace": ctl.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
    api.create(f"{rbac}/rolebindings", binding)
    described: list[Result] = []

    def allowed() -> bool:
        described.append(ctl("describe", "digits", "--kubeconfig", path))
        return described[-1].returncode == 0

    wait_until(allowed, timeout=30, what="the role")
    assert "Name:        digits" in described[-1].stdout
    first, second = described[-1].stderr.splitlines()
    assert first.startswith("pods are not shown: user ")
    assert "may not list events" in second
    denied = one_line(ctl("suspend", "digits", "--kubeconfig", path), 5)
    assert "may not patch mmdpojobs.mmrlhf.io" in denied


@in_cluster
def test_a_cluster_without_mmrlhf(ctl: Ctl, tmp_path: Path) -> None:
    if not ctl.cluster.is_ours:
        pytest.skip("the kinds of someone else's cluster are not ours to remove")
    api = ctl.cluster.api
    forget_kinds(ctl.cluster)
    for kind in all_resources():
        api.delete(f"{CRDS}/{kind.plural}.mmrlhf.io")
    wait_until(lambda: not _served(api), timeout=30, what="the end of the kinds")
    line = one_line(ctl("get"), 5)
    assert "does not know the kinds of mmrlhf.io/v1alpha1: install mmrlhf" in line
    done = ctl("doctor")
    assert done.returncode == 1
    assert "CRD MMDPOJob: is not installed" in done.stdout


def _served(api: Api) -> bool:
    try:
        api.get("/apis/mmrlhf.io/v1alpha1")
    except ApiError:
        return False
    return True


@in_cluster
def test_the_namespace_is_that_of_the_context(ctl: Ctl, kubeconfig: Kubeconfig) -> None:
    ctl.job()
    path = kubeconfig(namespace=ctl.namespace)
    here = ctl("get", "-o", "name", "--kubeconfig", path, namespace=False)
    assert here.stdout == "mmdpojob.mmrlhf.io/digits\n"
    both = ctl("--kubeconfig", path, "-n", "kube-system", "get", "-n", ctl.namespace, "-o", "name")
    assert both.stdout == here.stdout
    other = ctl("--kubeconfig", path, "-n", "kube-system", "get", namespace=False)
    assert other.stderr == "no jobs found in namespace kube-system\n"


@in_cluster
def test_a_pod_uses_its_service_account(ctl: Ctl, token: str, tmp_path: Path) -> None:
    """What the kubelet mounts is mounted here for one process, which then is as in a pod."""
    config = yaml.safe_load(ctl.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    bundle = f"/api/v1/namespaces/{ctl.namespace}/configmaps/kube-root-ca.crt"
    wait_until(lambda: ctl.cluster.api.exists(bundle), timeout=60, what="the cluster's authority")
    root = ctl.cluster.api.get(bundle)["data"]["ca.crt"]
    account = tmp_path / "account"
    account.mkdir()
    for name, text in {"token": token, "ca.crt": root, "namespace": ctl.namespace}.items():
        (account / name).write_text(text)
    program = shlex.join([sys.executable, "-m", "mmrlhfctl", "get"])
    script = (
        "mkdir -p /var/run && mount -t tmpfs tmpfs /var/run && "
        f"mkdir -p {folder} && cp {account}/* {folder}/ && exec {program}"
    )
    host, port = config["server"].removeprefix("https://").split(":")
    environ = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    done = subprocess.run(
        ctl.cluster.command(["unshare", "--mount", "sh", "-c", script]),
        env={
            **environ,
            "HOME": str(tmp_path),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
        },
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    line = one_line(done, 5)
    user = f"system:serviceaccount:{ctl.namespace}:nobody"
    assert f"user {user} may not list mmdpojobs.mmrlhf.io in namespace {ctl.namespace}" in line

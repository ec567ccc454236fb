"""How a cluster is reached: by a kubeconfig as kubectl reads it, or as a pod's own account."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mmrlhf.client.connection import Connection
from mmrlhf.client.credentials import (
    Credential,
    Credentials,
    Fixed,
    FromFile,
    NoCredentialError,
    Renewed,
    bearer,
    sendable,
)
from mmrlhf.client.kubeconfig import Entry, Kubeconfig, KubeconfigError, read_kubeconfig
from mmrlhf.client.proxies import find_proxy
from mmrlhf.client.refusals import one_line
from mmrlhf.errors import CredentialsError, NoClusterError, UsageError

__all__ = ["Access", "Tls", "find_access"]

_DEFAULT_PATH = "~/.kube/config"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet mounts the account of a pod."""
_EXTENSION = "client.authentication.k8s.io/exec"
"""Of a cluster: what is for credential plugins alone."""
_HEADER: Final = "!#$&'*+-.^_`|~"
"""What a name of a header may have besides letters and digits (RFC 9110)."""
_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""What a namespace may be called: a DNS-1123 label."""
_NOBODY = Fixed(Credential())
_UNREADABLE = (
    KubeconfigError,
    NoCredentialError,
    ValueError,
    OSError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""What is raised over a kubeconfig that says something else than is looked for."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How the server proves who it is.

    Attributes:
        ca: Certificates of its authorities, PEM; None for those of the system.
        verify: Whether its certificate is checked.
        server_name: Name that its certificate must have; None for that of the address.
    """

    ca: bytes | None = None
    verify: bool = True
    server_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """A cluster and the means to speak to it.

    Attributes:
        server: Address of its API server.
        tls: How that proves who it is.
        credentials: How we prove who we are.
        proxy: Proxy that leads to it; None without one.
        namespace: Namespace to work in.
        context: Context of the kubeconfig; None inside a cluster.
        user: User of the context, as the kubeconfig names it.
        acting: Headers that say as whom to act (``--as``); none for oneself.
    """

    server: str
    tls: Tls
    credentials: Credentials
    proxy: str | None
    namespace: str
    context: str | None
    user: str | None
    acting: tuple[tuple[str, str], ...] = ()


def find_access(connection: Connection) -> Access:
    """Return how to reach the cluster that the options mean.

    Raises:
        NoClusterError: There is no configuration.
        UsageError: It is wrong.
        CredentialsError: It has no credentials.
    """
    _check_namespace(connection.namespace)
    path = _kubeconfig_path(connection)
    if path is not None:
        found = _of_kubeconfig(path, connection)
    elif connection.server is not None:
        found = _of_server(connection)
    else:
        found = _of_account(connection)
    if connection.as_user is not None:
        others = tuple(one for one in found.acting if one[0] != "Impersonate-User")
        try:
            whom = sendable(connection.as_user, "as")
        except NoCredentialError as error:
            raise UsageError(str(error), argument="as") from error
        found = replace(found, acting=(("Impersonate-User", whom), *others))
    return found


def _check_namespace(name: str | None) -> None:
    """Refuse what no namespace is called, as a path or a list of them."""
    if name is not None and not re.fullmatch(_LABEL, name):
        raise UsageError(
            f"namespace {name}: there can be none of that name: it has lower-case letters, digits "
            "and '-' alone, and begins and ends with a letter or digit",
            argument="namespace",
        )


def _kubeconfig_path(connection: Connection) -> str | None:
    """Return the path or paths of the kubeconfig; None where a pod's own account is the way."""
    if connection.kubeconfig is not None:
        if not Path(connection.kubeconfig).expanduser().is_file():
            raise UsageError(
                f"kubeconfig {connection.kubeconfig}: no such file", argument="kubeconfig"
            )
        return connection.kubeconfig
    paths = os.environ.get("KUBECONFIG") or _DEFAULT_PATH
    if any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        return paths
    if connection.server is not None and connection.context is None:
        return None
    if os.environ.get("KUBERNETES_SERVICE_HOST") and connection.context is None:
        return None
    raise NoClusterError(
        f"no cluster is configured: {paths} does not exist; set KUBECONFIG or name a kubeconfig"
    )


def _of_server(connection: Connection) -> Access:
    server = (connection.server or "").rstrip("/")
    return Access(
        server=server,
        tls=Tls(),
        credentials=_of_token(connection) or _NOBODY,
        proxy=find_proxy(server, os.environ),
        namespace=connection.namespace or "default",
        context=None,
        user=None,
    )


def _of_account(connection: Connection) -> Access:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        ca = (_ACCOUNT / "ca.crt").read_bytes()
        credentials = _of_token(connection) or FromFile(_ACCOUNT / "token", Credential())
    except (OSError, NoCredentialError) as error:
        raise NoClusterError(
            f"this pod has no service account to speak to the cluster with: {one_line(error)}"
        ) from error
    own = _ACCOUNT / "namespace"
    namespace = own.read_text(encoding="utf-8").strip() if own.is_file() else "default"
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        server=server,
        tls=Tls(ca=ca),
        credentials=credentials,
        proxy=find_proxy(server, os.environ),
        namespace=connection.namespace or namespace,
        context=None,
        user=None,
    )


def _of_token(connection: Connection) -> Credentials | None:
    if connection.token is None:
        return None
    try:
        return Fixed(Credential(authorization=bearer(connection.token, "token")))
    except NoCredentialError as error:
        raise UsageError(str(error), argument="token") from error


def _of_kubeconfig(path: str, connection: Connection) -> Access:
    try:
        config = read_kubeconfig(path)
        name, context = config.context(connection.context)
        cluster = config.entry("clusters", context.text("cluster"), of=context)
        user = config.entry("users", context.text("user"), of=context)
        if cluster is None:
            raise KubeconfigError(f"{context.what} names no cluster")
        server = (connection.server or cluster.text("server") or "").rstrip("/")
        if not server:
            raise KubeconfigError(f"{cluster.what} has no server")
        access = Access(
            server=server,
            tls=Tls(
                ca=cluster.data("certificate-authority"),
                verify=not cluster.body.get("insecure-skip-tls-verify"),
                server_name=cluster.text("tls-server-name"),
            ),
            credentials=_of_token(connection) or _NOBODY,
            proxy=cluster.text("proxy-url") or find_proxy(server, os.environ),
            namespace=connection.namespace or context.text("namespace") or "default",
            context=name,
            user=context.text("user") if connection.token is None else None,
            acting=() if user is None else _acting(user),
        )
        if user is None or connection.token is not None:
            return access
        provider = (user.mapping("auth-provider") or {}).get("name")
        if provider is None:
            credentials = _of_user(user, cluster, access)
    except _UNREADABLE as error:
        raise UsageError(f"kubeconfig {path}: {one_line(error)}") from error
    try:
        if provider is not None:
            credentials = _of_provider(str(provider), config, name)
        credentials.current()
    except Exception as error:  # what gets tokens may raise anything
        raise CredentialsError(
            f"no credentials for context {name} of {path}: {one_line(error)}"
        ) from error
    return replace(access, credentials=credentials)


def _of_user(user: Entry, cluster: Entry, access: Access) -> Credentials:
    """What a user entry has to show: of tokens the first of token, plugin and password."""
    own = Credential(certificate=user.data("client-certificate"), key=user.data("client-key"))
    token, file = user.text("token"), user.path("tokenFile")
    if token is not None:
        own = replace(own, authorization=bearer(token, f"{user.what}: token"))
    if file is not None:  # of both the file counts, as it is newer
        return FromFile(file, own)
    if token is not None:
        return Fixed(own)
    if (entry := user.mapping("exec")) is not None:
        # Only who has one needs what starts programs.
        from mmrlhf.client.exec_plugin import read_plugin

        plugin = read_plugin(entry, user.folder, _cluster_info(cluster, access))
        return Renewed(lambda: plugin.run().over(own))
    name, password = user.text("username"), user.text("password")
    if name is not None and password is not None:
        pair = base64.b64encode(f"{name}:{password}".encode()).decode()
        own = replace(own, authorization=f"Basic {pair}")
    return Fixed(own)


def _cluster_info(cluster: Entry, access: Access) -> Mapping[str, Any]:
    """What a plugin is told that asks for it: ``spec.cluster`` of an ExecCredential."""
    tls = access.tls
    listed = cluster.body.get("extensions") or ()
    own = (one["extension"] for one in listed if one.get("name") == _EXTENSION)
    told = {
        "server": access.server,
        "tls-server-name": tls.server_name,
        "insecure-skip-tls-verify": not tls.verify or None,
        "certificate-authority-data": None if tls.ca is None else base64.b64encode(tls.ca).decode(),
        "proxy-url": cluster.text("proxy-url"),
        "config": next(own, None),
    }
    return {name: value for name, value in told.items() if value is not None}


def _of_provider(provider: str, config: Kubeconfig, context: str) -> Credentials:
    """What an auth provider gives, as kubeconfigs had them before plugins."""
    if provider != "oidc":
        raise NoCredentialError(
            f"the auth provider {provider!r} is not known; use a credential plugin"
            " (users[].user.exec), as kubectl does since 1.26"
        )
    from mmrlhf.client.auth_provider import Provided

    return Provided(config.plain(), context)


def _acting(user: Entry) -> tuple[tuple[str, str], ...]:
    """Headers of what a user entry says of impersonation."""
    names = {"as": "Impersonate-User", "as-uid": "Impersonate-Uid"}
    found = [(header, text) for name, header in names.items() if (text := user.text(name))]
    found += [("Impersonate-Group", str(one)) for one in user.body.get("as-groups") or ()]
    extra = user.mapping("as-user-extra") or {}
    for key, values in extra.items():
        header = f"Impersonate-Extra-{quote(str(key), safe=_HEADER)}"
        found += [(header, str(one)) for one in values]
    return tuple((header, sendable(text, f"{user.what}: {header}")) for header, text in found)

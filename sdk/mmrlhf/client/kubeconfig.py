"""Find the cluster: kubeconfig as kubectl reads it, or the service account of a pod."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config as loaders
from kubernetes.client import Configuration
from urllib3.exceptions import HTTPError

from mmrlhf.client.connection import Connection
from mmrlhf.client.refusals import one_line
from mmrlhf.errors import CredentialsError, NoClusterError, UsageError

__all__ = ["Access", "find_access"]

_DEFAULT_PATH = "~/.kube/config"
_UNREADABLE = (
    loaders.ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,  # nested without end
)
"""What the client raises over a kubeconfig that it cannot use."""
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True)
class Access:
    """A cluster and the means to speak to it.

    Attributes:
        configuration: Configuration of the kubernetes client.
        namespace: Namespace to work in.
        context: Context of the kubeconfig; None inside a cluster.
        user: User of the context, as the kubeconfig names it.
        as_user: User to act as; None for oneself.
    """

    configuration: Any
    namespace: str
    context: str | None
    user: str | None
    as_user: str | None = None


def find_access(connection: Connection) -> Access:
    """Return how to reach the cluster that the options mean.

    Raises:
        NoClusterError: There is no configuration.
        UsageError: It is wrong.
        CredentialsError: It has no credentials.
    """
    found = _find(connection)
    settings = found.configuration
    if connection.server is not None:
        settings.host = connection.server.rstrip("/")
    if connection.token is not None:
        settings.api_key = {"BearerToken": f"Bearer {connection.token}"}
        settings.refresh_api_key_hook = None
        settings.cert_file = settings.key_file = None
        found = replace(found, user=None)
    return replace(found, as_user=connection.as_user)


def _find(connection: Connection) -> Access:
    configuration = Configuration()
    # urllib3 would retry at once and warn about it; `cluster` knows better when to.
    configuration.retries = False
    configuration.keep_alive = True
    path = _kubeconfig_path(connection)
    if path is None and connection.server is not None:
        namespace = connection.namespace or "default"
        return Access(configuration=configuration, namespace=namespace, context=None, user=None)
    if path is None:
        return _in_cluster(configuration, connection)
    try:
        merged = loaders.kube_config.KubeConfigMerger(path).config
        context = _find_context(merged, path, connection.context)
        provider = _unknown_provider(merged, context)
    except _UNREADABLE as error:
        raise _broken(path, error) from error
    where = f"context {context['name']} of {path}"
    if provider is not None:
        raise CredentialsError(
            f"no credentials for {where}: the auth provider {provider!r} is not known; use a "
            "credential plugin (users[].user.exec), as kubectl does since 1.26"
        )
    try:
        with _complaints() as complaints:
            loaders.kube_config.KubeConfigLoader(
                config_dict=merged, config_base_path=None, active_context=context["name"]
            ).load_and_set(configuration)
    except _UNREADABLE as error:
        raise _broken(path, error) from error
    except HTTPError as error:
        raise CredentialsError(
            f"no credentials for {where}: the issuer of its tokens does not answer"
        ) from error
    except Exception as error:  # what gets tokens may raise anything
        raise CredentialsError(f"no credentials for {where}: {one_line(error)}") from error
    if complaints:  # a credential plugin failed, and the client would go on as nobody
        raise CredentialsError(f"no credentials for {where}: {'; '.join(complaints)}")
    settings = context.get("context") or {}
    return Access(
        configuration=configuration,
        namespace=connection.namespace or settings.get("namespace") or "default",
        context=context["name"],
        user=settings.get("user"),
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


def _find_context(merged: Any, path: str, name: str | None) -> dict[str, Any]:  # noqa: ANN401
    if name is None:
        current: dict[str, Any] = merged["contexts"].get_with_name(merged["current-context"]).value
        return current
    contexts: list[dict[str, Any]] = [context.value for context in merged["contexts"]]
    for context in contexts:
        if context["name"] == name:
            return context
    names = [str(context["name"]) for context in contexts]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names) or 'none'}"
    raise UsageError(f"context {name}: {path} has no such context; {hint}", argument="context")


def _in_cluster(configuration: Any, connection: Connection) -> Access:  # noqa: ANN401 - untyped
    try:
        loaders.load_incluster_config(client_configuration=configuration)
    except (loaders.ConfigException, OSError) as error:
        raise NoClusterError(
            f"this pod has no service account to speak to the cluster with: {error}"
        ) from error
    own = _IN_CLUSTER / "namespace"
    namespace = own.read_text(encoding="utf-8").strip() if own.is_file() else "default"
    return Access(
        configuration=configuration,
        namespace=connection.namespace or namespace,
        context=None,
        user=None,
    )


def _unknown_provider(merged: Any, context: Mapping[str, Any]) -> str | None:  # noqa: ANN401
    """Return the name of the auth provider where the client knows none of that name.

    It would go on as nobody.
    """
    name = (context.get("context") or {}).get("user")
    own: Mapping[str, Any] = next(
        (user.value for user in merged["users"] if user["name"] == name), {}
    )
    found = ((own.get("user") or {}).get("auth-provider") or {}).get("name")
    return None if found in {None, "oidc"} else str(found)


def _broken(path: str, error: Exception) -> UsageError:
    return UsageError(f"kubeconfig {path}: {one_line(error)}")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what the client logs as an error instead of raising it."""
    told: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(" ".join(record.getMessage().split()))

    collector = Collector(logging.ERROR)
    logging.getLogger().addHandler(collector)
    try:
        yield told
    finally:
        logging.getLogger().removeHandler(collector)

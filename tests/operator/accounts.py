"""The account that an operator is installed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmrlhf_operator.installation.access import access
from tests.cluster.api import Api


@contextmanager
def installed_account(api: Api, namespace: str, *, cluster: bool) -> Iterator[str]:
    """The account, roles and bindings; yields the path of its tokens.

    Args:
        api: An administrator's.
        namespace: Where it is, and where its jobs are unless they are everywhere.
        cluster: Whether they are.
    """
    name = f"mmrlhf-operator-{namespace}"
    paths = []
    for body in access(namespace=namespace, cluster=cluster, name=name):
        plural = f"{body['kind'].lower()}s"
        root = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        within = f"/namespaces/{namespace}" if "namespace" in body["metadata"] else ""
        paths.append(f"{root}{within}/{plural}/{name}")
        api.apply(paths[-1], body)
    try:
        yield f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    finally:
        for path in paths:
            api.delete(path)

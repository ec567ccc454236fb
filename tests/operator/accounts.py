"""The account that an operator is installed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmrlhf_operator.installation.access import access
from tests.cluster.api import Api
from tests.cluster.wait import wait_until

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@contextmanager
def installed_account(api: Api, namespace: str, *, cluster: bool) -> Iterator[str]:
    """The account, roles and bindings; yields the path of its tokens.

    Args:
        api: An administrator's.
        namespace: Where it is, and where its jobs are unless they are everywhere.
        cluster: Whether they are.
    """
    name = f"mmrlhf-operator-{namespace}"
    bodies = access(namespace=namespace, cluster=cluster, name=name)
    paths = []
    for body in bodies:
        plural = f"{body['kind'].lower()}s"
        root = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        within = f"/namespaces/{namespace}" if "namespace" in body["metadata"] else ""
        paths.append(f"{root}{within}/{plural}/{name}")
        api.apply(paths[-1], body)
    user = f"system:serviceaccount:{namespace}:{name}"
    try:
        wait_until(
            lambda: all(_counts(api, body, user) for body in bodies if "rules" in body),
            timeout=60,
            what="a server that goes by the roles",
        )
        yield f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    finally:
        for path in paths:
            api.delete(path)


def _counts(api: Api, role: dict[str, Any], user: str) -> bool:
    """Whether a user may do what the first rule of a role says."""
    rule = role["rules"][0]
    asked = {
        "group": rule["apiGroups"][0],
        "resource": rule["resources"][0],
        "verb": rule["verbs"][0],
        "name": next(iter(rule.get("resourceNames", ())), ""),
        "namespace": role["metadata"].get("namespace", ""),
    }
    answer = api.create(_REVIEWS, {"spec": {"user": user, "resourceAttributes": asked}})
    return bool(answer["status"]["allowed"])

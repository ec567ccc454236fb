"""What Kubernetes' own roles may do to jobs once ours are added to them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mmrlhf_api.constants import GROUP
from mmrlhf_api.pipelines.resources import all_resources
from mmrlhf_operator.installation.users import ROLES, user_roles
from tests.cluster.access import Access
from tests.cluster.wait import wait_until

pytestmark = pytest.mark.cluster

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
def bound(control_plane: Access, kinds: None, kube_namespace: str) -> Iterator[str]:
    """Users named as Kubernetes' roles, which they have in one namespace."""
    if not control_plane.is_ours:
        pytest.skip("what others may do on someone else's cluster is not ours to change")
    api = control_plane.api
    for body in user_roles():
        api.apply(f"{RBAC}/clusterroles/{body['metadata']['name']}", body)
    for role in ROLES:
        group = "rbac.authorization.k8s.io"
        body = {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": f"{role}-user"}],
        }
        api.create(f"{RBAC}/namespaces/{kube_namespace}/rolebindings", body)
    yield kube_namespace
    for body in user_roles():
        api.delete(f"{RBAC}/clusterroles/{body['metadata']['name']}")


def test_who_views_edits_or_administers_a_namespace_does_so_with_jobs(
    control_plane: Access, bound: str
) -> None:
    def rights() -> dict[str, dict[str, set[str]]]:
        return {role: listed(control_plane, bound, role) for role in ROLES}

    wanted = {
        role: {
            f"{kind.plural}.{GROUP}{subresource}": set(verbs)
            for kind in all_resources()
            for subresource, verbs in granted.items()
        }
        for role, granted in ROLES.items()
    }
    # A controller adds them.
    wait_until(lambda: rights() == wanted, timeout=30, what="the rights of all")
    asked = {
        ("view", "list", "mmdpojobs"): "yes",
        ("view", "create", "mmdpojobs"): "no",
        ("view", "delete", "mmdpojobs"): "no",
        ("edit", "create", "rewardtrainjobs"): "yes",
        ("edit", "delete", "clustersamplejobs"): "yes",
        ("edit", "update", "mmdpojobs/finalizers"): "no",
        ("admin", "update", "mmdpojobs/finalizers"): "yes",
        ("admin", "patch", "mmdpojobs/status"): "no",
    }
    for (role, verb, what), answer in asked.items():
        plural, _, subresource = what.partition("/")
        told = can_i(
            control_plane, bound, role, verb, f"{plural}.{GROUP}", f"--subresource={subresource}"
        )
        assert told.strip() == answer, (role, verb, what)
    assert can_i(control_plane, "default", "admin", "list", f"mmdpojobs.{GROUP}").strip() == "no"


def listed(cluster: Access, namespace: str, role: str) -> dict[str, set[str]]:
    """Verbs by resource of ours, as `kubectl auth can-i --list` has them."""
    found: dict[str, set[str]] = {}
    for line in can_i(cluster, namespace, role, "--list").splitlines():
        resource, _, rest = line.partition(" ")
        if GROUP in resource:
            (verbs,) = re.findall(r"\[([a-z ]+)\]\s*$", rest)
            found.setdefault(resource, set()).update(verbs.split())
    return found


def can_i(cluster: Access, namespace: str, role: str, *question: str) -> str:
    return cluster.kubectl(
        *("auth", "can-i", *question, f"--namespace={namespace}", f"--as={role}-user"), check=False
    ).stdout

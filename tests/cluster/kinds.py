"""Our kinds on a cluster: made known once, and again where a test has changed them."""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakSet

from mmrlhf_api.crd import crd
from mmrlhf_api.pipelines.resources import all_resources
from tests.cluster.access import Access
from tests.cluster.wait import wait_until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_known = WeakSet[Access]()


def know_kinds(cluster: Access) -> None:
    """Make all kinds known to a cluster, unless they are."""
    if cluster not in _known:
        apply_kinds(cluster)


def forget_kinds(cluster: Access) -> None:
    """Say that the kinds of a cluster change: whoever needs them next makes them known again."""
    _known.discard(cluster)


def apply_kinds(cluster: Access) -> None:
    """Make all kinds known to a cluster, and wait until it speaks them."""
    api = cluster.api
    bodies = _bodies(cel=cluster.knows_rules)
    for body in bodies:
        api.apply(f"{CRDS}/{body['metadata']['name']}", body)
    for body in bodies:
        wait_until_served(cluster, body)
    # kubectl checks fields by what the server publishes, which it does a moment later.
    wait_until(
        lambda: _has_all(api.text("/openapi/v2")),
        timeout=30,
        what="the kinds in the server's OpenAPI",
        interval=0.5,
    )
    _known.add(cluster)


def wait_until_served(cluster: Access, body: dict[str, Any]) -> None:
    """Wait until a cluster speaks what a definition has defined."""
    api, spec, name = cluster.api, body["spec"], body["metadata"]["name"]

    def established() -> bool:
        conditions = api.get(f"{CRDS}/{name}").get("status", {}).get("conditions") or ()
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    wait_until(established, timeout=30, what=f"{name} to be established")
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    wait_until(lambda: api.exists(path), timeout=30, what=f"{path} to be served")


@functools.cache
def _bodies(*, cel: bool) -> tuple[dict[str, Any], ...]:
    """The definitions of all kinds: they take a third of a second to make."""
    return tuple(crd(kind, cel=cel) for kind in all_resources())


def _has_all(openapi: str) -> bool:
    return all(f"v1alpha1.{kind.name}" in openapi for kind in all_resources())

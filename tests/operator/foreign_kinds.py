"""Kinds of others that an API server may have, in the shape that decides anything here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.cluster.wait import wait_until

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def crd(
    group: str, version: str, kind: str, *, scope: str, schema: dict[str, Any]
) -> dict[str, Any]:
    """What makes a kind known."""
    plural = f"{kind.lower()}s"
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


@contextmanager
def served(control_plane: Access, kinds: Sequence[dict[str, Any]]) -> Iterator[None]:
    """The API server knows these kinds, of one group, within, and neither before nor after."""
    api, spec = control_plane.api, kinds[0]["spec"]
    root = f"/apis/{spec['group']}/{spec['versions'][0]['name']}"
    try:
        for body in kinds:
            api.apply(f"{_CRDS}/{body['metadata']['name']}", body)
        plurals = {body["spec"]["names"]["plural"] for body in kinds}
        wait_until(lambda: plurals <= _plurals(api, root), timeout=60, what=f"the kinds of {root}")
        yield
    finally:
        for body in kinds:
            api.delete(f"{_CRDS}/{body['metadata']['name']}")
        wait_until(lambda: not _plurals(api, root), timeout=60, what=f"their end in {root}")


def _plurals(api: Api, root: str) -> set[str]:
    try:
        names = {entry["name"] for entry in api.get(root)["resources"]}
    except ApiError as error:
        if error.status != 404:
            raise
        return set()
    return {name for name in names if "/" not in name}

"""Requests to the API server as the operator makes them: plain dicts in and out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from mmrlhf_api import Kind
from mmrlhf_api.constants import API_VERSION, MANAGER
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.kube.transport import Request, Response, Transport

__all__ = ["PAGE", "Api", "Manifest", "collection", "collection_of", "jobs"]

Manifest = dict[str, Any]

PAGE = 200
"""Most objects of one page of a list."""

_MERGE_PATCH: Final = "application/merge-patch+json"
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Workload": ("/apis/kueue.x-k8s.io/v1beta2", "workloads"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
}


def jobs(kind: Kind, namespace: str) -> str:
    """Path of the jobs of a kind."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{kind.plural}"


def collection(kind: str, namespace: str) -> str:
    """Path of the objects of a kind that is not ours, such as Pod."""
    root, plural = _PATHS[kind]
    return f"{root}/namespaces/{namespace}/{plural}"


def collection_of(manifest: Mapping[str, Any], namespace: str) -> str:
    """Path of the collection that an object of a job belongs to."""
    if manifest["kind"] == "PodGroup":  # more than one API group has this kind
        return f"/apis/{manifest['apiVersion']}/namespaces/{namespace}/podgroups"
    return collection(manifest["kind"], namespace)


class Api:
    """Speaks to the API server.

    Args:
        transport: Carries the requests.
        timeout: Seconds for one request.
    """

    def __init__(self, transport: Transport, *, timeout: float = 30.0) -> None:
        self._transport = transport
        self._timeout = timeout

    async def get(self, path: str, **query: str) -> Manifest:
        """Read an object or a list.

        Raises:
            ServerError: It was refused; ``is_missing`` when there is none.
            UnreachableError: There was no answer. All methods raise these two.
        """
        return await self._send(Request(method="GET", path=path, query=query))

    async def find(self, path: str) -> Manifest | None:
        """Read an object; None when there is none."""
        try:
            return await self.get(path)
        except ServerError as error:
            if error.is_missing:
                return None
            raise

    async def metadata(self, path: str, **query: str) -> AsyncIterator[Manifest]:
        """Metadata of all objects of a collection, as they were when it was first asked.

        They come in pages, all of one version. The first request names no version, so the API
        server answers with what is true now, and not with what one of its caches knew (Kubernetes
        API concepts, "Semantics for get and list", "Retrieving large results sets in chunks").

        Raises:
            UnreachableError: Also when not all pages came.
            ServerError: ``is_expired`` when it took so long that the version is gone.
        """
        token = ""
        while True:
            more = {"continue": token} if token else {}
            request = Request(
                method="GET",
                path=path,
                query={**query, "limit": str(PAGE), **more},
                accept=f"{_METADATA}, application/json",
            )
            listed = await self._send(request)
            if not str(listed.get("kind")).endswith("List") or "metadata" not in listed:
                raise UnreachableError(f"{request}: the answer is not the whole list")
            for item in listed.get("items") or ():
                yield item["metadata"]
            following = listed["metadata"].get("continue") or ""
            if not following:
                return
            if following == token:
                raise UnreachableError(f"{request}: the answer is not the whole list")
            token = following

    async def uids(self, path: str, **query: str) -> set[str]:
        """Identities of all objects of a collection; see `metadata`."""
        return {entry["uid"] for entry in await self.all_metadata(path, ("uid",), **query)}

    async def all_metadata(
        self, path: str, fields: Collection[str], **query: str
    ) -> list[Manifest]:
        """Some fields of the metadata of all objects; once more from the start if it took long.

        Raises:
            UnreachableError: Not all pages came.
        """
        try:
            return await self._all_metadata(path, fields, query)
        except ServerError as error:
            if not error.is_expired:
                raise
        return await self._all_metadata(path, fields, query)

    async def create(self, path: str, body: Manifest) -> Manifest:
        """Create an object."""
        query = {"fieldManager": MANAGER}
        return await self._send(Request(method="POST", path=path, query=query, body=body))

    async def replace(self, path: str, body: Manifest) -> Manifest:
        """Replace an object, unless it has changed since it was read."""
        return await self._send(Request(method="PUT", path=path, body=body))

    async def patch(self, path: str, body: Manifest) -> Manifest:
        """Merge fields; with ``metadata.resourceVersion``, only into that version."""
        return await self._send(
            Request(
                method="PATCH",
                path=path,
                query={"fieldManager": MANAGER},
                body=body,
                content_type=_MERGE_PATCH,
            )
        )

    async def delete(self, path: str, *, uid: str | None = None, grace: int | None = None) -> bool:
        """Delete an object; False when it is gone already, or another one bears its name.

        Raises:
            ServerError: It is there still; ``is_conflict`` when it changed while it was deleted.
        """
        body: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
        body["propagationPolicy"] = "Background"
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._send(Request(method="DELETE", path=path, body=body))
        except ServerError as error:
            if error.is_missing:
                return False
            if not error.is_conflict:
                raise
            there = await self.find(path)
            if there is not None and uid in {None, there["metadata"]["uid"]}:
                raise
            return False
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _all_metadata(
        self, path: str, fields: Collection[str], query: Mapping[str, str]
    ) -> list[Manifest]:
        return [
            {name: entry[name] for name in fields if name in entry}
            async for entry in self.metadata(path, **query)
        ]

    async def _send(self, request: Request) -> Manifest:
        response = await self._transport.send(request, seconds=self._timeout)
        content = _decode(response.body)
        if response.status >= 400:
            raise _refusal(request, response, content)
        return content


def _decode(body: bytes) -> Manifest:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _refusal(request: Request, response: Response, content: Mapping[str, Any]) -> ServerError:
    retry_after = next(
        (value for name, value in response.headers.items() if name.lower() == "retry-after"), None
    )
    return ServerError(
        status=response.status,
        reason=content.get("reason", ""),
        message=content.get("message") or response.body[:200].decode(errors="replace"),
        request=str(request),
        retry_after=float(retry_after) if retry_after and retry_after.isdigit() else None,
    )

"""The API server: the one module that speaks to it.

Objects are plain dicts, as they are on the wire. All errors are `ClusterError`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

from mmrlhf.client.access import Access, find_access
from mmrlhf.client.connection import Connection
from mmrlhf.client.credentials import Credential
from mmrlhf.client.exchange import Answer, NoAnswerError, Request
from mmrlhf.client.refusals import Place, one_line, refusal
from mmrlhf.client.transport import Transport
from mmrlhf.errors import ClusterError, CredentialsError, UnreachableError
from mmrlhf_api.backoff import doubling_wait

__all__ = ["Change", "Cluster", "Manifest", "open_cluster"]

Manifest = dict[str, Any]
Page = tuple[list[Manifest], str]
"""Objects of a list, and the version of the whole."""

MANAGER: Final = "mmrlhfctl"
"""Field manager of what is submitted, by the command line and from Python alike: what one has set,
the other changes without a conflict."""

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_ATTEMPTS = 5
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 4.0
_MAX_RETRY_AFTER = 10.0
_PAGE = 500
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Change:
    """One event of a watch.

    Attributes:
        type: ADDED, MODIFIED, DELETED or BOOKMARK.
        object: The object as it is now, or was last.
    """

    type: str
    object: Manifest


def open_cluster(connection: Connection) -> Cluster:
    """Return the cluster that the options mean; nothing is sent yet.

    Raises:
        NoClusterError: There is no configuration.
        UsageError: It is wrong.
        CredentialsError: It has no credentials.
    """
    return Cluster(find_access(connection), request_timeout=connection.request_timeout)


class Cluster:
    """Speaks to one API server as one user. Threads may share it.

    Args:
        access: How to reach it.
        request_timeout: Seconds for one request; 0 waits for ever, None takes the default.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        access: Access,
        *,
        request_timeout: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace = access.namespace
        self.place = Place(server=access.server, context=access.context, user=access.user)
        self.server_time: datetime | None = None
        """Time of the server at its latest answer."""
        self._credentials = access.credentials
        self._transport = Transport(access)
        read = _READ_SECONDS if request_timeout is None else request_timeout or None
        self._connect = min(_CONNECT_SECONDS, read or _CONNECT_SECONDS)
        self._read = read
        self._sleep = sleep

    def get(self, path: str) -> Manifest:
        """Return one object."""
        return self._json("GET", path)

    def list(
        self, path: str, *, query: Mapping[str, str] | None = None
    ) -> tuple[list[Manifest], str]:
        """Return all objects of a path, and the version at which a watch goes on."""
        items: list[Manifest] = []
        version = ""
        for page, version in self.pages(path, query=query):  # noqa: B007 - the last one
            items += page
        return items, version

    def pages(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield the objects of a path page by page, each with the version of the list.

        Who wants only some of them stops, and the rest is never sent.
        """
        query = {"limit": str(_PAGE), **(query or {})}
        while True:
            page = self._json("GET", path, query=query)
            # Items of a list come without the apiVersion and kind that all share.
            kind = str(page.get("kind", "")).removesuffix("List")
            items = [
                {"apiVersion": page.get("apiVersion"), "kind": kind, **item}
                for item in page.get("items") or ()
            ]
            metadata = page.get("metadata") or {}
            yield items, metadata.get("resourceVersion", "")
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    def create(self, path: str, body: Manifest) -> Manifest:
        """Create an object."""
        return self._json("POST", path, body=body, content_type=_JSON)

    def apply(
        self, path: str, body: Manifest, *, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        """Server-side apply: the body's fields become what it says, all others stay."""
        query = {"fieldManager": MANAGER, "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        return self._json("PATCH", path, body=body, query=query, content_type=_APPLY_PATCH)

    def patch(self, path: str, body: Manifest, *, manager: str) -> Manifest:
        """Merge a few fields into an object, as a field manager of its own."""
        query = {"fieldManager": manager}
        return self._json("PATCH", path, body=body, query=query, content_type=_MERGE_PATCH)

    def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete an object; with ``uid``, only if it is still that one."""
        body: Manifest = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        self._json("DELETE", path, body=body, content_type=_JSON)

    def watch(
        self, path: str, *, since: str, seconds: float, query: Mapping[str, str]
    ) -> Iterator[Change]:
        """Yield what changes after a version, for some seconds.

        Raises:
            ExpiredError: The version is too old: list again.
        """
        query = {
            **query,
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        for line in self.lines(path, query=query, read_seconds=seconds + 15):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                code = int(status.get("code") or 500)
                raise refusal(code, json.dumps(status), place=self.place)
            yield Change(event["type"], event["object"])

    def lines(
        self, path: str, *, query: Mapping[str, str], read_seconds: float | None = None
    ) -> Iterator[bytes]:
        """Yield the lines of an answer as they come, each with its line feed.

        The last one lacks it where the answer ends in the middle of a line.
        """
        answer = self._answer("GET", path, query=query, read_seconds=read_seconds)
        rest = b""
        try:
            for piece in answer.pieces():
                *whole, rest = (rest + piece).split(b"\n")
                yield from (line + b"\n" for line in whole)
            if rest:
                yield rest
        except NoAnswerError as error:
            raise self._unreachable(error) from error
        finally:
            answer.close()

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
    ) -> Manifest:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._answer(
                    method,
                    path,
                    query=query or {},
                    body=body,
                    content_type=content_type,
                    read_seconds=self._read,
                )
                found: Manifest = json.loads(answer.read())
            except _RetryError as wait:
                if attempt == _ATTEMPTS or (not wait.anyway and method != "GET"):
                    raise wait.error from None
                pause = doubling_wait(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT)
                self._sleep(min(wait.seconds or pause, _MAX_RETRY_AFTER))
            except NoAnswerError as error:
                raise self._unreachable(error) from error
            except ValueError as error:
                raise UnreachableError(
                    f"{self.place} does not answer as a Kubernetes API server does"
                ) from error
            else:
                return found
        raise AssertionError  # the last attempt returns or raises

    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: Manifest | None = None,
        content_type: str = _JSON,
        read_seconds: float | None,
    ) -> Answer:
        request = Request(
            method,
            path + (f"?{urlencode(query)}" if query else ""),
            (("Accept", _JSON), ("Content-Type", content_type), ("User-Agent", MANAGER)),
            None if body is None else json.dumps(body).encode(),
        )
        credential = self._credential()
        answer = self._send(request, credential, read_seconds)
        if answer.status == 401:
            other = self._credential(refused=credential)
            if other != credential:
                self._body(answer)
                answer = self._send(request, other, read_seconds)
        self._note_time(answer.header("Date"))
        if answer.status < 400:
            return answer
        text = self._body(answer).decode(errors="replace")
        refused = refusal(answer.status, text, place=self.place)
        if answer.status in {429, 502, 503, 504}:
            after = answer.header("Retry-After") or ""
            raise _RetryError(
                refused,
                anyway=answer.status == 429,
                seconds=float(after) if after.isdecimal() else None,
            )
        raise refused

    def _send(self, request: Request, credential: Credential, read_seconds: float | None) -> Answer:
        try:
            return self._transport.send(request, credential, timeout=(self._connect, read_seconds))
        except NoAnswerError as error:
            raise self._unreachable(error) from error

    def _body(self, answer: Answer) -> bytes:
        try:
            return answer.read()
        except NoAnswerError as error:
            raise self._unreachable(error) from error

    def _credential(self, refused: Credential | None = None) -> Credential:
        try:
            return self._credentials.current(refused)
        except Exception as error:  # tokens are renewed here, and what does it may raise anything
            raise CredentialsError(f"no new token for {self.place}: {one_line(error)}") from error

    def _note_time(self, text: str | None) -> None:
        if text:
            self.server_time = parsedate_to_datetime(text).astimezone(UTC)

    def _unreachable(self, error: NoAnswerError) -> ClusterError:
        return UnreachableError(f"cannot reach the cluster at {self.place}: {error}")


class _RetryError(UnreachableError):
    """The server asks for another attempt.

    Attributes:
        error: What to tell when that does not help.
        anyway: Whether the server has certainly done nothing.
        seconds: How long it asks to wait.
    """

    def __init__(self, error: ClusterError, *, anyway: bool, seconds: float | None) -> None:
        super().__init__(*error.lines)
        self.error = error
        self.anyway = anyway
        self.seconds = seconds

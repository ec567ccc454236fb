"""Turn what the API server refuses into words for users."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmrlhf.errors import (
    ClusterError,
    ConflictError,
    CredentialsError,
    ExpiredError,
    ForbiddenError,
    KindMissingError,
    NotFoundError,
    RejectedError,
    UnreachableError,
)

__all__ = ["Place", "one_line", "refusal"]

# Compiled where something is refused.
_RBAC = (
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_CONFLICT = r'conflict with "(?P<manager>[^"]+)"'
_MAX_BODY = 300


@dataclass(frozen=True, kw_only=True)
class Place:
    """The API server, as messages name it."""

    server: str
    context: str | None
    user: str | None = None

    def __str__(self) -> str:
        return self.server if self.context is None else f"{self.server} (context {self.context})"


def one_line(error: BaseException) -> str:
    """Return what an error of another's says, in one line; its class where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def refusal(status: int, body: str, *, place: Place) -> ClusterError:  # noqa: PLR0911 - a table
    """Return the error of an answer of the API server.

    Args:
        status: HTTP status code, 400 or above.
        body: Body of the answer: a Status object, or plain text.
        place: The API server.
    """
    answer = _status(body)
    message = str(answer.get("message") or body.strip()[:_MAX_BODY] or f"HTTP status {status}")
    reason = answer.get("reason")
    if status == 401:
        user = f" of user {place.user}" if place.user else ""
        return CredentialsError(
            f"the cluster at {place} refuses the credentials{user}: they are wrong or expired; "
            "log in again"
        )
    if status == 403:
        return _forbidden(message)
    if status == 404:
        return _missing(answer, message, place)
    if status == 409 and reason != "AlreadyExists":
        return _conflict(answer, message)
    if status == 410:
        return ExpiredError(message)
    if status in {400, 409, 413, 415, 422}:
        return _rejected(answer, message)
    return UnreachableError(f"the cluster at {place} has a problem (HTTP {status}): {message}")


def _status(body: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _forbidden(message: str) -> ClusterError:
    match = re.search(_RBAC, message)
    if match is None:  # a quota, an admission plugin: its own words are the best
        return ForbiddenError(f"the cluster forbids that: {message}")
    resource = match["resource"]
    if match["group"]:
        plural, slash, rest = resource.partition("/")
        resource = f"{plural}.{match['group']}{slash}{rest}"
    where = f"in namespace {match['namespace']}" if match["namespace"] else "in the whole cluster"
    return ForbiddenError(
        f"user {match['user']} may not {match['verb']} {resource} {where}; "
        f"ask for a role that allows it (mmrlhfctl doctor lists what is needed)"
    )


def _missing(answer: Mapping[str, Any], message: str, place: Place) -> ClusterError:
    details = answer.get("details") or {}
    if not details.get("name"):  # the URL itself is unknown
        return KindMissingError(
            f"the cluster at {place} does not know the kinds of mmrlhf.io/v1alpha1: install mmrlhf "
            f"or its CRDs there (mmrlhfctl doctor tells more)"
        )
    if details.get("kind") == "namespaces":
        return NotFoundError(f"there is no namespace {details['name']} in the cluster at {place}")
    return NotFoundError(message)


def _conflict(answer: Mapping[str, Any], message: str) -> ClusterError:
    causes = (answer.get("details") or {}).get("causes") or ()
    lines = [
        f"{_field(cause)}: was set by {match['manager']} to another value"
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
        and (match := re.search(_CONFLICT, cause.get("message", "")))
    ]
    if not lines:
        return ConflictError(f"the object was changed meanwhile, try again: {message}")
    return ConflictError(
        *lines,
        "leave these fields out to keep the other values, or take them over (--force-conflicts of "
        "mmrlhfctl submit, force=True in Python)",
    )


def _rejected(answer: Mapping[str, Any], message: str) -> ClusterError:
    causes = (answer.get("details") or {}).get("causes") or ()
    lines = [f"{_field(cause)}: {cause.get('message', '')}" for cause in causes]
    if not lines or not all(cause.get("field") for cause in causes):
        return RejectedError(f"the cluster rejects this: {message}")
    return RejectedError(*(f"rejected by the cluster: {line}" for line in lines))


def _field(cause: Mapping[str, Any]) -> str:
    return str(cause.get("field", "")).removeprefix(".") or "object"

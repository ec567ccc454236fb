"""Where OpenLineage events go: the server that the standard's variables name.

https://openlineage.io/docs/client/python: ``OPENLINEAGE_URL``, ``OPENLINEAGE_ENDPOINT``,
``OPENLINEAGE_API_KEY`` and ``OPENLINEAGE_DISABLED``; ``OPENLINEAGE_NAMESPACE`` and
``OPENLINEAGE_PARENT_ID`` (``namespace/job/run id``) as Airflow's and dbt's integrations have them.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Final
from urllib.parse import urljoin, urlsplit

from mmrlhf_api.credentials import has_password, has_secret
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.reporting.openlineage.run_events import Parent
from mmrlhf_jobs.reporting.trackers.tracker import Row

__all__ = ["Receiver", "ReceiverSettings", "read_settings"]

_ENDPOINT: Final = "api/v1/lineage"
_NAMESPACE: Final = "mmrlhf"
_TIMEOUT: Final = 5.0
"""Seconds of one request; what is beside it bounds all of them."""
_EXCERPT: Final = 200
_KEY: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class ReceiverSettings:
    """Where events go, and as whose.

    Attributes:
        url: Where to POST them.
        key: Bearer token, if one is wanted.
        namespace: Namespace of our jobs.
        parent: The run that this process is part of.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    namespace: str = _NAMESPACE
    parent: Parent | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> ReceiverSettings | None:
    """What the environment says; None if nobody is to be told.

    Raises:
        SpecError: A variable is wrong; says which. It never holds the value of a credential.
    """
    url = environ.get("OPENLINEAGE_URL", "").strip()
    if not url or environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return None
    parts = urlsplit(url)
    if has_password(url) or "@" in parts.netloc or has_secret(url):
        raise SpecError(
            "OPENLINEAGE_URL holds a password or token; give it as OPENLINEAGE_API_KEY, from a"
            " Secret"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(
            f"OPENLINEAGE_URL must be http://... or https://..., not {url[:_EXCERPT]!r}"
        )
    if parts.query or parts.fragment:
        raise SpecError(
            "OPENLINEAGE_URL must have no ? and no #; OPENLINEAGE_ENDPOINT is the path below it"
        )
    endpoint = environ.get("OPENLINEAGE_ENDPOINT") or _ENDPOINT
    if "://" in endpoint or endpoint.startswith("//"):
        raise SpecError("OPENLINEAGE_ENDPOINT must be a path below OPENLINEAGE_URL, no address")
    key = environ.get("OPENLINEAGE_API_KEY", "").strip() or None
    if key is not None and _KEY.fullmatch(key) is None:
        raise SpecError("OPENLINEAGE_API_KEY must be one word of printable ASCII")
    return ReceiverSettings(
        url=urljoin(url.rstrip("/") + "/", endpoint.lstrip("/")),
        key=key,
        namespace=environ.get("OPENLINEAGE_NAMESPACE") or _NAMESPACE,
        parent=_parent(environ.get("OPENLINEAGE_PARENT_ID")),
    )


def _parent(text: str | None) -> Parent | None:
    if not text:
        return None
    namespace, _, rest = text.partition("/")
    name, _, run = rest.rpartition("/")
    try:
        found = str(uuid.UUID(run))
    except ValueError:
        found = ""
    if not (namespace and name and found):
        raise SpecError(
            "OPENLINEAGE_PARENT_ID must be NAMESPACE/JOB/RUN, of which RUN is a UUID, not"
            f" {text[:_EXCERPT]!r}"
        )
    return Parent(namespace, name, found)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The server that was named gets events and key, and none that it names in turn."""

    def redirect_request(self, *_: object) -> None:
        """None: the answer is an error."""


class Receiver:
    """A server of OpenLineage as a tracker, whose rows are events.

    A proxy of the environment is used as for any server outside (``NO_PROXY`` names those that
    need none).

    Args:
        settings: Where it is.
    """

    name = "OpenLineage"

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._opener = urllib.request.build_opener(_NoRedirects)

    def open(self) -> None:
        """Nothing: each event stands for itself."""

    def log(self, row: Row, time: float) -> None:  # noqa: ARG002 - the event has its own
        """Send an event once.

        Raises:
            OSError: It was not taken.
        """
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - http or https
            self._settings.url, data=json.dumps(row).encode(), headers=headers, method="POST"
        )
        if self._settings.key is not None:
            # Not sent on to where the server redirects to, nor to a proxy of https.
            request.add_unredirected_header("Authorization", f"Bearer {self._settings.key}")
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                answer.read(_EXCERPT)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(_EXCERPT).decode(errors="replace").partition("\n")[0]
            raise self._problem(f"answers {error.code}: {said or error.reason}") from None
        except urllib.error.URLError as error:
            raise self._problem(f"cannot be reached: {error.reason}") from None
        except (OSError, HTTPException) as error:
            raise self._problem(f"gives no answer: {error or type(error).__name__}") from None

    def keep(self) -> None:
        """Nothing: what was taken is there."""

    def close(self, *, succeeded: bool) -> None:
        """Nothing is open."""

    def _problem(self, words: str) -> OSError:
        """What is wrong; a server may repeat the key that it was sent."""
        text = f"{self._settings.url} {words}"
        return OSError(
            text if self._settings.key is None else text.replace(self._settings.key, "***")
        )

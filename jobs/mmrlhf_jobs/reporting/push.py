"""Live progress pushed to the operator.

The operator knows the sender by a service-account token of its own audience, bound to this pod.
Training goes on when the operator is away: events wait in a bounded buffer, the newest step
replaces older ones, and what could not be told is counted. Why nothing arrives is said once for
each cause: the operator, which hears nothing, cannot know it.

Requests go straight to the operator. A proxy that the environment names is for the world outside
the cluster, would not find the operator, and is no place to send a token of the cluster to.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.progress import EventName
from mmrlhf_jobs.reporting.events import event_object

__all__ = ["PushProgress"]

_TIMEOUT_SECONDS = 5.0
_BUFFER = 64
_CONNECTIONS = 6
"""Tries to connect before an interval is waited; with two replicas, one in 64 requests waits."""
_REFUSED_SECONDS = 0.02
_STRAIGHT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PushProgress:
    """Sends events from a thread of its own, at most one request an interval.

    Args:
        url: Where to POST ``{"events": [...]}``.
        token_file: Bearer token; read anew for each request, because the kubelet renews it.
        interval: Seconds between requests.
        patience: Seconds in which nothing arrives before it is said why.
    """

    def __init__(
        self, url: str, token_file: Path, *, interval: float = 1.0, patience: float = 30.0
    ) -> None:
        self._url = url
        self._token_file = token_file
        self._interval = interval
        self._events: list[dict[str, object]] = []
        self._lost = 0
        self._on_the_way = 0
        self._changed = threading.Condition()
        self._closed = False
        self._patience = patience
        self._heard_at = time.monotonic()
        self._told: str | None = None
        self._give_up_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def emit(self, event: str, **fields: object) -> None:
        """Hand over an event; returns at once."""
        with self._changed:
            if (
                event == EventName.STEP
                and self._events
                and self._events[-1]["event"] == EventName.STEP
            ):
                # Only the newest step tells anything new.
                self._events.pop()
            self._events.append(event_object(event, fields))
            if len(self._events) > _BUFFER:
                self._lost += 1
                del self._events[0]
            self._changed.notify()

    def close(self, *, timeout: float = 10.0) -> None:
        """Send what is left, for at most `timeout` seconds, and say what could not be told.

        What was the last word of a job may meet an operator that is just starting anew: it is sent
        again until it arrives or the time is over.
        """
        with self._changed:
            self._closed = True
            self._give_up_at = time.monotonic() + timeout
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            lost = self._lost + self._on_the_way + len(self._events)
        if lost:
            sys.stderr.write(f"progress: {lost} events could not be delivered to {self._url}\n")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._closed)
                if not self._events:
                    return
                batch, self._events = self._events, []
                self._on_the_way = len(batch)
            delivered = self._send(batch)
            with self._changed:
                self._on_the_way = 0
                if not delivered:
                    waiting = [*batch, *self._events]
                    self._lost += max(len(waiting) - _BUFFER, 0)
                    self._events = waiting[-_BUFFER:]
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, timeout=self._interval)
                    continue
            if not delivered:
                if time.monotonic() + self._interval >= self._give_up_at:
                    return
                time.sleep(self._interval)

    def _send(self, batch: list[dict[str, object]]) -> bool:
        """Whether the events are done with: told, or refused for good.

        Of the operator's replicas only the one that leads listens, and a Service sends each
        connection to any of them: one that nobody takes is made again at once.
        """
        for _ in range(_CONNECTIONS):
            try:
                return self._post(batch)
            except ConnectionRefusedError:
                time.sleep(_REFUSED_SECONDS)
        self._tell("nobody takes connections there")
        return False

    def _post(self, batch: list[dict[str, object]]) -> bool:
        """One request.

        Raises:
            ConnectionRefusedError: Nobody listens there.
        """
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
            request = urllib.request.Request(  # noqa: S310 - the operator gives the URL
                self._url,
                data=json.dumps({"events": batch}).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                method="POST",
            )
            with _STRAIGHT.open(request, timeout=_TIMEOUT_SECONDS):
                self._tell(None)
                return True
        except urllib.error.HTTPError as error:
            self._tell(f"the answer is {error.code}: {_first_line(error)}")
            if error.code in {408, 425, 429} or error.code >= 500:
                return False
            with self._changed:
                self._lost += len(batch)
            return True
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                raise error.reason from None
            self._tell(_cause(error.reason))
            return False
        except OSError as error:
            self._tell(_cause(error))
            return False

    def _tell(self, problem: str | None) -> None:
        """Say why nothing arrives, where it was not said before, and that it does again."""
        now = time.monotonic()
        if problem is None:
            if self._told is not None:
                sys.stderr.write(f"progress: {self._url} is reached again\n")
            self._heard_at, self._told = now, None
        elif problem != self._told and now - self._heard_at >= self._patience:
            self._told = problem
            sys.stderr.write(
                f"progress: nothing arrives at {self._url}: {problem}. The job goes on; its"
                " status shows no progress, and stallTimeoutSeconds is not watched\n"
            )


def _cause(error: object) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name does not resolve ({error.strerror})"
    if isinstance(error, TimeoutError):
        return "it does not answer in time; see the network policies between job and operator"
    if isinstance(error, FileNotFoundError):
        return f"there is no token at {error.filename}"
    return str(error)


def _first_line(error: urllib.error.HTTPError) -> str:
    """What the server says of it, cut; it may be any server."""
    text = error.read(512).decode("utf-8", "replace")
    return make_safe(text.strip().partition("\n")[0][:200]) or error.reason

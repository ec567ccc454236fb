"""HTTP requests to servers that are not trusted: bounded in bytes, time and place.

An answer is cut off after so many bytes, its headers among them, and nothing is decompressed. One
deadline holds for all requests together: every wait on a socket ends with it. The address that the
name of a server resolves to is judged and then connected to, anew for each request, so that no name
can mean one thing when it is judged and another when it is used. No proxy is used and no redirect
followed.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mmrlhf_operator.acting.addresses import AddressRule
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.endpoints import Endpoint

__all__ = ["Answer", "BoundedHttp", "Resolve"]

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 10.0

Resolve = Callable[..., list[tuple[Any, ...]]]
"""Finds the addresses of a name, as `socket.getaddrinfo` does."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered: status, headers and body as they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class BoundedHttp:
    """Sends requests.

    Args:
        seconds: For all requests together, from now on.
        answer_bytes: Most bytes of one answer.
        rule: Addresses that may be asked.
        tls: Makes the context for https.
        clock: Tells the time, in seconds.
        resolve: Finds the addresses of a name.
    """

    def __init__(
        self,
        *,
        seconds: float,
        answer_bytes: int,
        rule: AddressRule,
        tls: Callable[[], ssl.SSLContext],
        clock: Callable[[], float] = time.monotonic,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        self._ends_at = clock() + seconds
        self._answer_bytes = answer_bytes
        self._rule = rule
        self._tls = tls
        self._clock = clock
        self._resolve = resolve

    @property
    def answer_bytes(self) -> int:
        """Most bytes of one answer."""
        return self._answer_bytes

    def send(self, method: str, url: str, headers: Mapping[str, str | bytes]) -> Answer:
        """Send a request without body, and return what is answered.

        Raises:
            LookUpError: There is no answer, or none that is within bounds; nothing of what the
                server sent is in it.
        """
        try:
            place = Endpoint.of(url)
        except ValueError as error:
            raise LookUpError(Outcome.UNNAMEABLE) from error
        with _in_words_of_ours(), self._connected(place) as wire:
            connection = http.client.HTTPConnection(place.host, place.port)
            connection.default_port = place.standard_port
            connection.sock = wire
            asked = urlsplit(url)
            target = asked.path or "/"
            connection.request(
                method,
                f"{target}?{asked.query}" if asked.query else target,
                headers={**headers, "Connection": "close"},
            )
            answer = connection.getresponse()
            # By a number of ours: for no length that the server gives is memory taken.
            body = answer.read(self._answer_bytes + 1)
            if answer.length:  # what is still to come
                raise http.client.IncompleteRead(body)
            told = tuple(answer.getheaders())
            return Answer(status=answer.status, headers=told, body=body)

    @contextmanager
    def _connected(self, place: Endpoint) -> Iterator[_Wire]:
        plain = self._connect(place.host, place.port)
        try:
            if place.scheme == "https":
                plain.settimeout(self._left(_READ_SECONDS))
                plain = self._tls().wrap_socket(plain, server_hostname=place.host)
            yield _Wire(plain, left=lambda: self._left(_READ_SECONDS), most=self._answer_bytes)
        finally:
            plain.close()

    def _connect(self, host: str, port: int) -> socket.socket:
        self._left(0.0)
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, ValueError) as error:
            raise LookUpError(Outcome.NO_ADDRESS, passing=True) from error
        if not all(self._rule.permits(str(entry[4][0])) for entry in found):
            raise LookUpError(Outcome.FORBIDDEN)
        for family, kind, protocol, _, address in found:
            one = socket.socket(family, kind, protocol)
            try:
                one.settimeout(self._left(_CONNECT_SECONDS))
                one.connect(address)
            except OSError:
                one.close()
                continue
            except BaseException:
                one.close()
                raise
            return one
        raise LookUpError(Outcome.NO_CONNECTION, passing=True)

    def _left(self, most: float) -> float:
        """Seconds for the next wait."""
        left = self._ends_at - self._clock()
        if left <= 0.0:
            raise LookUpError(Outcome.SLOW)
        return min(left, most)


class _Wire:
    """A socket as `http.client` uses it, with bounds on every wait and on all that is read.

    Args:
        inner: The socket.
        left: Seconds for the next wait; raises when there are none.
        most: Bytes that may be read.
    """

    def __init__(self, inner: socket.socket, *, left: Callable[[], float], most: int) -> None:
        self._inner = inner
        self._left = left
        self._most = most

    def sendall(self, data: bytes) -> None:
        """Send all, within one wait."""
        self._inner.settimeout(self._left())
        self._inner.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The bytes that are read."""
        return io.BufferedReader(_Reader(self._inner, left=self._left, most=self._most))

    def close(self) -> None:
        """Leave the socket to its owner, who closes it."""


class _Reader(io.RawIOBase):
    def __init__(self, inner: socket.socket, *, left: Callable[[], float], most: int) -> None:
        self._inner = inner
        self._left = left
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        if self._most <= 0:
            raise LookUpError(Outcome.TOO_LONG)
        self._inner.settimeout(self._left())
        count = self._inner.recv_into(memoryview(buffer)[: self._most])
        self._most -= count
        return count


@contextmanager
def _in_words_of_ours() -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise LookUpError(Outcome.UNTRUSTED) from error
    except TimeoutError as error:
        raise LookUpError(Outcome.SLOW, passing=True) from error
    except ssl.SSLError as error:
        raise LookUpError(Outcome.NO_TLS, passing=True) from error
    except OSError as error:
        raise LookUpError(Outcome.NO_CONNECTION, passing=True) from error
    except (http.client.HTTPException, ValueError) as error:
        # ValueError: a header or address that cannot be sent, or a length that is no number.
        raise LookUpError(Outcome.NO_HTTP, passing=True) from error

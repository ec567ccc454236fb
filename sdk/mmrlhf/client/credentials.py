"""How a client proves who it is, and when it must do so anew.

After client-go: a token file is read again, a plugin is asked again once what it gave has expired
or was refused (kubernetes.io/docs/reference/access-authn-authz/authentication, client-go
credential plugins).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

__all__ = [
    "Credential",
    "Credentials",
    "Fixed",
    "FromFile",
    "NoCredentialError",
    "Renewed",
    "bearer",
    "sendable",
]

_FILE_SECONDS = 60.0
"""How long a token of a file is good; client-go reads it each minute too."""
_FORBIDDEN: Final = r"\r?\n|[\0-\x08\x0a-\x1f\x7f]"
"""What the value of a header cannot have (RFC 9110, field-value)."""


class NoCredentialError(Exception):
    """Who is asked for a credential gives none."""


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What is shown to the server.

    Attributes:
        authorization: Value of the header; None without one.
        certificate: Certificates of the client, PEM; None without one.
        key: Their key, PEM.
        expires: When it is good no longer; None where that is not known.
    """

    authorization: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    expires: datetime | None = None

    def over(self, other: Credential) -> Credential:
        """Return this one, with what only ``other`` has."""
        pair = self if self.certificate is not None else other
        return replace(
            self,
            authorization=self.authorization or other.authorization,
            certificate=pair.certificate,
            key=pair.key,
        )


def sendable(text: str, what: str) -> str:
    """Return a text that is sent as a header.

    Args:
        text: The text, which messages never show.
        what: What it is and where it stands, for messages.

    Raises:
        NoCredentialError: It has a character that no header can have.
    """
    found = re.search(_FORBIDDEN, text)
    if found is None:
        return text
    break_ = found[0] in {"\n", "\r\n", "\r"}
    character = "a line break" if break_ else f"the character U+{ord(found[0]):04X}"
    ends = found.end() == len(text)
    place = "at its end" if ends else f"after {found.start()} of its characters"
    raise NoCredentialError(f"{what} has {character} {place}, and HTTP can send none; remove it")


def bearer(token: str, what: str) -> str:
    """Return the header of a token.

    Args:
        token: The token.
        what: What it is and where it stands, for messages.

    Raises:
        NoCredentialError: No header can have it; says why.
    """
    return f"Bearer {sendable(token, what)}"


class Credentials(Protocol):
    """Gives the credential of the moment. Threads may share it."""

    def current(self, refused: Credential | None = None) -> Credential:
        """Return what is shown to the server now; may raise whatever hinders that.

        Args:
            refused: What the server has just refused: something else, if there is anything.
        """


@dataclass(frozen=True)
class Fixed:
    """A credential that stays."""

    credential: Credential

    def current(self, refused: Credential | None = None) -> Credential:  # noqa: ARG002
        """Return it; there is no other."""
        return self.credential


class FromFile:
    """A token that another program keeps in a file, read at most once a minute.

    Args:
        path: The file.
        rest: What is shown besides; its header where the file cannot be read at first.
        clock: Seconds by a monotonic clock.

    Raises:
        OSError: The file cannot be read, and there is no other token.
        NoCredentialError: It holds no token that can be sent.
    """

    def __init__(
        self, path: Path, rest: Credential, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._credential = rest
        try:
            self._read()
        except OSError:
            if rest.authorization is None:
                raise
            self._again = clock()

    def current(self, refused: Credential | None = None) -> Credential:
        """Return what is shown, with the token that the file has, or had last."""
        if refused == self._credential or self._clock() >= self._again:
            # A file that is being replaced says nothing for a moment.
            with suppress(OSError):
                self._read()
        return self._credential

    def _read(self) -> None:
        try:
            token = self._path.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise NoCredentialError(f"the token in {self._path} is no text in UTF-8") from None
        if not token:
            raise OSError(f"{self._path} is empty")
        shown = bearer(token, f"the token in {self._path}")
        self._credential = replace(self._credential, authorization=shown)
        self._again = self._clock() + _FILE_SECONDS


class Renewed:
    """A credential that is made, and made anew when it has expired or was refused.

    Args:
        make: Makes one.
        now: The time: expiry is a point in time.
    """

    def __init__(
        self,
        make: Callable[[], Credential],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._make = make
        self._now = now
        self._lock = threading.Lock()
        self._credential: Credential | None = None

    def current(self, refused: Credential | None = None) -> Credential:
        """Return the latest one, or another where that has expired or is the refused one."""
        with self._lock:
            own = self._credential
            late = own is not None and own.expires is not None and own.expires <= self._now()
            if own is None or late or own == refused:
                own = self._credential = self._make()
            return own

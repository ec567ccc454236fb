"""Files of certificates that are replaced while the operator runs, as kubelet and others do.

A context of TLS reads them once. The API server asks at each request whether the certificate that a
connection began with has expired, so one that is reused knows nothing of the next one either.
"""

from __future__ import annotations

import logging
import os
import ssl

from kubernetes.aio import client

__all__ = ["CertificateFiles"]

_LOG = logging.getLogger(__name__)
_State = tuple[tuple[int, int, int] | None, ...]


class CertificateFiles:
    """The files by which an API server and the operator know each other.

    Args:
        configuration: Names them.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self._authority: str | None = configuration.ssl_ca_cert
        self._certificate: str | None = configuration.cert_file
        self._key: str | None = configuration.key_file
        self._read = self._state()

    def changed(self) -> bool:
        """Whether other files are there than the last time, and can be read.

        Half of a pair is told once, and looked at again when the other half is there.
        """
        state = self._state()
        if state == self._read or None in state:
            return False
        self._read = state
        try:
            self.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except OSError as error:  # ssl.SSLError is one
            _LOG.warning("certificates were replaced and cannot be used: %s", error)
            return False
        _LOG.info("certificates were replaced and are used from now on")
        return True

    def load(self, context: ssl.SSLContext) -> None:
        """Take the files as they are now into a context, for the connections to come.

        Raises:
            OSError: They cannot be read, or do not belong together (`ssl.SSLError`).
        """
        if self._authority:
            context.load_verify_locations(cafile=self._authority)
        if self._certificate:
            context.load_cert_chain(self._certificate, keyfile=self._key)

    def _state(self) -> _State:
        return tuple(map(_state, filter(None, (self._authority, self._certificate, self._key))))


def _state(path: str) -> tuple[int, int, int] | None:
    """What another file of the same name differs by; None while there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each request
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

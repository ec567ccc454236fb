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
        configuration: Names them; others, once a plugin has given a certificate anew.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self._named = configuration
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
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except OSError as error:  # ssl.SSLError is one
            _LOG.warning("certificates were replaced and cannot be used: %s", error)
            return False
        _LOG.info("certificates were replaced and are used from now on")
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        if self._named.ssl_ca_cert:
            context.load_verify_locations(cafile=self._named.ssl_ca_cert)
        if self._named.cert_file:
            context.load_cert_chain(self._named.cert_file, keyfile=self._named.key_file)

    def _state(self) -> _State:
        named = (self._named.ssl_ca_cert, self._named.cert_file, self._named.key_file)
        return tuple(map(_state, filter(None, named)))


def _state(path: str) -> tuple[int, int, int] | None:
    """What another file of the same name differs by; None while there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each request
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

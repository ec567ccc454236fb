"""How a server proves who it is, and what is shown to it, as OpenSSL is told."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from mmrlhf.client.access import Tls
from mmrlhf.client.credentials import Credential
from mmrlhf.errors import CredentialsError, UsageError

__all__ = ["tls_context"]


def tls_context(tls: Tls, credential: Credential) -> ssl.SSLContext:
    """Return what connections are made with.

    Raises:
        UsageError: The certificates of the cluster's authority cannot be read.
        CredentialsError: The client's own cannot.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.post_handshake_auth = True  # who stands before a server may ask for it only then
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.ca is not None:
        try:
            context.load_verify_locations(cadata=tls.ca.decode())
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"certificates of the cluster's authority cannot be read: {error}"
            ) from error
    elif tls.verify:
        context.load_default_certs()  # those of the system are hundreds: not without need
    if credential.certificate is not None:
        _show_certificate(context, credential)
    return context


def _show_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    """Let a context show a certificate; OpenSSL takes files alone, which are gone at once."""
    with tempfile.TemporaryDirectory(prefix="mmrlhf-") as folder:
        paths = []
        for name, data in (("cert", credential.certificate), ("key", credential.key)):
            path = Path(folder, name)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(data or b"")
            paths.append(path)
        try:
            context.load_cert_chain(paths[0], paths[1] if credential.key is not None else None)
        except (ssl.SSLError, OSError) as error:
            raise CredentialsError(
                f"the client's certificate and key cannot be used: {error}"
            ) from error

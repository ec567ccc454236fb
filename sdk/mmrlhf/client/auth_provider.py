"""Tokens by the auth providers that kubeconfigs had before credential plugins.

The one part of the client that needs the kubernetes package, which takes longer to load than all
else together: nothing imports this module but who has such an entry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import config as loaders
from kubernetes.client import Configuration
from urllib3.exceptions import HTTPError

from mmrlhf.client.credentials import Credential, NoCredentialError, sendable

__all__ = ["Provided"]


class Provided:
    """Credentials of a user entry with an auth provider.

    Args:
        merged: The kubeconfig.
        context: Name of the context.

    Raises:
        NoCredentialError: There is no token; says why.
    """

    def __init__(self, merged: Mapping[str, Any], context: str) -> None:
        self._configuration = Configuration()
        try:
            with _complaints() as complaints:
                loaders.kube_config.KubeConfigLoader(
                    config_dict=dict(merged), config_base_path="", active_context=context
                ).load_and_set(self._configuration)
        except HTTPError as error:
            raise NoCredentialError("the issuer of its tokens does not answer") from error
        if complaints:  # the package would go on as nobody
            raise NoCredentialError("; ".join(complaints))

    def current(self, refused: Credential | None = None) -> Credential:  # noqa: ARG002
        """Return what is shown to the server now: the package renews tokens that have expired."""
        own = self._configuration
        certificate, key = (
            None if path is None else Path(path).read_bytes()
            for path in (own.cert_file, own.key_file)
        )
        token = own.get_api_key_with_prefix("BearerToken")
        shown = None if token is None else sendable(token, "the token of the auth provider")
        return Credential(authorization=shown, certificate=certificate, key=key)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what the package logs as an error instead of raising it."""
    told: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(" ".join(record.getMessage().split()))

    collector = Collector(logging.ERROR)
    logging.getLogger().addHandler(collector)
    try:
        yield told
    finally:
        logging.getLogger().removeHandler(collector)

"""The connection by which kopf lists and watches, with what nobody reads cut off as it arrives.

Until all kinds were listed, kopf holds every object whole: who may create jobs would decide how
much memory that takes. And kopf says nowhere that it lists a kind anew, after which deletions may
have been missed: it is seen here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import kopf
from kubernetes.aio import client

from mmrlhf_api.constants import API_VERSION
from mmrlhf_operator.state.bodies import trim, without_managed_fields

__all__ = ["connect"]


class _Trimmed(aiohttp.ClientResponse):
    """An answer whose list is trimmed, and told of, before anyone has it."""

    tell: Callable[[str], None]

    async def json(self, **how: Any) -> Any:  # noqa: ANN401 - as its base has it
        """See `aiohttp.ClientResponse`."""
        content = await super().json(**how)
        if isinstance(content, dict) and isinstance(content.get("items"), list):
            self.tell(self.url.name)
            items = content["items"]
            cut = trim if content.get("apiVersion") == API_VERSION else without_managed_fields
            for number, item in enumerate(items):
                items[number] = cut(item)
        return content


async def connect(
    configuration: client.Configuration, *, listed: Callable[[str], None]
) -> kopf.AiohttpSession:
    """The same credentials as the operator's own requests have, read anew each time.

    Args:
        configuration: How to reach the API server.
        listed: Called with the plural of a kind for each page of a list of it.
    """
    token = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, value = (token or "").rpartition(" ")
    info = kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=value or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        response_class=type("_Told", (_Trimmed,), {"tell": staticmethod(listed)}),
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)

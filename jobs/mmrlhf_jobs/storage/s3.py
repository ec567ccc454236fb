"""The S3 client of the jobs: s3fs, with a budget for outages of the store.

It is loaded with the first s3:// URI, as not all jobs have one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
)
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from mmrlhf_jobs.storage.outages import Outages

__all__ = ["PatientS3", "is_transient"]

_SECONDS: Final = 300.0
_TRANSIENT: Final = (
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
)
_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
_UNMET: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
"""An object is not as a condition says, another such request is under way, or it is gone."""
_CODES: Final = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"})


class PatientS3(S3FileSystem):
    """An S3 file system that waits while its store is away.

    Every request passes ``_call_s3``, and each may be made twice: an object is written whole or
    not, a part by its number, and what is deleted twice is gone.

    Args:
        patience: Seconds that a request is made again before its error is raised.
        client_kwargs: Arguments of the client below, such as ``endpoint_url``.
        settings: Arguments of s3fs.
    """

    def __init__(
        self,
        *,
        patience: float = _SECONDS,
        client_kwargs: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        super().__init__(client_kwargs=client_kwargs, **settings)
        store = (client_kwargs or {}).get("endpoint_url", "S3")
        self._outages = Outages(store, patience=patience)

    async def _call_s3(self, method: str, *arguments: object, **named: object) -> object:
        request = functools.partial(super()._call_s3, method, *arguments, **named)
        return await self._outages.wait_out(request, is_transient=is_transient)

    # s3fs makes this of its own function, past ours; open files use it.
    call_s3 = sync_wrapper(_call_s3)

    async def _cat_tagged(self, path: str) -> tuple[bytes, str]:
        """Content of an object and its entity tag, by one request."""
        bucket, key, _ = self.split_path(path)

        async def read() -> tuple[bytes, str]:
            answer: Any = await self._call_s3("get_object", Bucket=bucket, Key=key)
            try:
                return await answer["Body"].read(), str(answer["ETag"])
            finally:
                answer["Body"].close()

        return await self._outages.wait_out(read, is_transient=is_transient)

    async def _put_if(self, path: str, content: bytes, tag: str | None) -> bool:
        """Write an object if it still has this entity tag, or, with None, if there is none.

        Returns:
            Whether this request has written it. One whose answer was lost is made again, and then
            its own object is in its way: whoever gets False looks who has written it.
        """
        bucket, key, _ = self.split_path(path)
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            await self._call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
        except OSError as error:
            if _is_unmet(error):
                return False
            raise
        return True

    cat_tagged = sync_wrapper(_cat_tagged)
    put_if = sync_wrapper(_put_if)


def is_transient(error: BaseException) -> bool:
    """Whether an error of s3fs may go away by itself: no answer, or one that blames the server."""
    # s3fs turns answers into errors of the system, and keeps them as the cause.
    cause = error.__cause__ if isinstance(error, OSError) else None
    refusal = cause if isinstance(cause, ClientError) else error
    if isinstance(refusal, ClientError):
        response = refusal.response
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _STATUSES or response.get("Error", {}).get("Code") in _CODES
    if isinstance(error, BotoCoreError | aiohttp.ClientError):
        return isinstance(error, _TRANSIENT)
    return False


def _is_unmet(error: OSError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in _UNMET

"""A look into the object store of a job, with the job's own credentials and nothing of ours."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmrlhf_api import ArtifactStore

__all__ = ["Store", "opened"]

_CONNECT_SECONDS = 5
_READ_SECONDS = 10
_TRIES = 2
_MISSING = frozenset({404, 410})
# Clients are made one at a time: what they share is not made for threads.
_MAKING = threading.Lock()


class Store:
    """An object store, for reading only.

    Args:
        client: An S3 client of botocore.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - botocore makes its classes at run time
        self._client = client

    def holds(self, uri: str) -> bool:
        """Whether there is a bucket, an object, or anything below a prefix.

        Raises:
            PermissionError: The store refuses the credentials.
            OSError: It does not answer, or with an error; the message says which.
        """
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return self._has_object(bucket, key) or self._has_below(bucket, key)
        except ClientError as error:
            status = _status(error)
            if status in _MISSING:
                return False
            kind = PermissionError if status in {401, 403} else OSError
            raise kind(str(error)) from error
        except BotoCoreError as error:
            raise OSError(str(error)) from error

    def _has_object(self, bucket: str, key: str) -> bool:
        from botocore.exceptions import ClientError

        if not key:
            self._client.head_bucket(Bucket=bucket)
            return True
        try:
            self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _status(error) not in _MISSING:
                raise
            return False
        return True

    def _has_below(self, bucket: str, prefix: str) -> bool:
        listed = self._client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1)
        return bool(listed.get("Contents"))


@contextmanager
def opened(
    settings: ArtifactStore, credentials: Mapping[str, str], authority: str | None
) -> Iterator[Store]:
    """Open the store of a job; nothing of it stays.

    Args:
        settings: Where it is.
        credentials: Keys such as AWS_ACCESS_KEY_ID; without any, requests are not signed.
        authority: CA certificates to trust instead of the system's, in PEM.
    """
    import botocore  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        trusted = Path(folder) / "ca.crt"
        trusted.write_text(authority or "", encoding="utf-8")
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": _TRIES, "mode": "standard"},
            # Servers other than AWS seldom have a DNS name per bucket.
            s3={"addressing_style": "path"} if settings.endpoint else {},
            signature_version=None if credentials else botocore.UNSIGNED,
        )
        with _MAKING:
            client = Session().create_client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=credentials.get("AWS_ACCESS_KEY_ID"),
                aws_secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
                aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
                verify=str(trusted) if authority is not None else None,
                config=config,
            )
        try:
            yield Store(client)
        finally:
            client.close()


def _status(error: Any) -> int | None:  # noqa: ANN401 - botocore has no types
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status

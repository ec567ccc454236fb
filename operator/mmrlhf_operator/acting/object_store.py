"""A look into the object store of a job, with the job's own credentials and nothing of ours.

botocore says what to ask and understands the answers; `BoundedHttp` carries both.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

from mmrlhf_api import ArtifactStore
from mmrlhf_operator.acting.bounded_http import Answer, BoundedHttp
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.endpoints import Endpoint

__all__ = ["Store", "StoredObject", "digest_of", "opened", "trusting"]

T = TypeVar("T")

_TRIES = 2
_WILDCARDS: Final = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_MATCHED_PAGES = 20
_PAGES = 40
_PAGE_OBJECTS = 100
"""Few enough for the limit of an answer, whatever their names."""
_MISSING = frozenset({404, 410})
_DENIED = frozenset({401, 403})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REGION: Final = "x-amz-bucket-region"
_CODES: Final = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "ServiceUnavailable",
        "SignatureDoesNotMatch",
        "SlowDown",
    }
)
"""Codes of errors that are repeated to the user, as S3's own reference has them."""
_OF_CREDENTIALS = frozenset({"ExpiredToken", "InvalidToken"})
# Clients are made one at a time: what they share is not made for threads.
_MAKING = threading.Lock()


class StoredObject(NamedTuple):
    """An object of a store.

    Attributes:
        name: What follows the URI in its key; empty for the one at the URI itself.
        size: Its size in bytes.
        etag: What changes with its content.
    """

    name: str
    size: int
    etag: str | None


def digest_of(objects: Iterable[StoredObject]) -> str:
    """Return the SHA-256 of names, sizes and ETags, in whatever order they are listed."""
    text = "\n".join(sorted(json.dumps(one) for one in objects))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """An object store, for reading only.

    Args:
        client: An S3 client of botocore.
        piece_bytes: Most bytes of an object that are read at once.
    """

    def __init__(self, client: Any, *, piece_bytes: int) -> None:  # noqa: ANN401 - botocore makes its classes at run time
        self._client = client
        self.piece_bytes = piece_bytes

    def holds(self, uri: str, *, within: str = "") -> bool:
        """Whether there is a bucket, an object, anything below a prefix, or a match of a pattern.

        Args:
            uri: Of either; with ``*`` in its key it is a pattern. Of very many objects the first
                are looked at, and what is not among them may be there.
            within: Prefix in the bucket that is the job's. Keys may be for it alone, and are then
                denied the bucket as a whole.

        Raises:
            LookUpError: That cannot be found out.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bool(self._asked(lambda: self._has(bucket, key, within)))

    def _asked(self, ask: Callable[[], T]) -> T | None:
        """What the store answers; None where it says that there is no such thing."""
        from botocore.exceptions import (  # type: ignore[import-untyped]
            ClientError,
            HTTPClientError,
            ParamValidationError,
        )

        try:
            return ask()
        except ClientError as error:
            if _status(error) in _MISSING:
                return None
            raise _judge(error) from error
        except LookUpError:
            raise
        except HTTPClientError as error:
            cause = error.__cause__
            raise (
                cause if isinstance(cause, LookUpError) else LookUpError(Outcome.NO_CONNECTION)
            ) from error
        except ParamValidationError as error:
            raise LookUpError(Outcome.UNNAMEABLE) from error
        except Exception as error:  # whatever a stranger's answer does to its reader
            raise LookUpError(Outcome.ODD) from error

    def digest(self, uri: str) -> str | None:
        """Return a SHA-256 of what there is: names, sizes and ETags; None where nothing is.

        Args:
            uri: Of an object, of a prefix, or a pattern, of which all below its first wildcard
                counts.

        Raises:
            LookUpError: That cannot be found out, or there is more than a look takes.
        """
        found = self.objects(uri)
        return digest_of(found) if found else None

    def objects(self, uri: str) -> list[StoredObject]:
        """Return what there is.

        Args:
            uri: See `digest`.

        Raises:
            LookUpError: That cannot be found out, or there is more than a look takes.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        plain = re.split(r"[*?\[]", key, maxsplit=1)[0].rstrip("/" if key.endswith("/") else "")
        exact = bool(plain) and plain == key.rstrip("/")
        return self._asked(lambda: self._list(bucket, plain, exact=exact)) or []

    def read(self, uri: str, start: int) -> bytes:
        """Return at most `piece_bytes` of an object from an offset; none behind its end.

        Raises:
            LookUpError: That cannot be found out.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        span = f"bytes={start}-{start + self.piece_bytes - 1}"

        def ask() -> bytes:
            content: bytes = self._client.get_object(Bucket=bucket, Key=key, Range=span)[
                "Body"
            ].read()
            return content

        return self._asked(ask) or b""

    def _list(self, bucket: str, key: str, *, exact: bool) -> list[StoredObject]:
        found: list[StoredObject] = []
        more: dict[str, str] = {}
        for _ in range(_PAGES):
            page = self._client.list_objects_v2(
                Bucket=bucket, Prefix=key, MaxKeys=_PAGE_OBJECTS, **more
            )
            found += [
                StoredObject(one["Key"][len(key) :], one["Size"], one.get("ETag"))
                for one in page.get("Contents", ())
                if not exact or one["Key"] == key or one["Key"].startswith(f"{key}/")
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}
        raise LookUpError(Outcome.TOO_MANY)

    def _has(self, bucket: str, key: str, within: str) -> bool:
        if "*" in key:
            return self._has_match(bucket, key)
        return self._has_object(bucket, key, within) or self._has_below(bucket, key)

    def _has_object(self, bucket: str, key: str, within: str) -> bool:
        from botocore.exceptions import ClientError

        if not key:
            try:
                self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                if _status(error) not in _DENIED or not within:
                    raise
                self._client.list_objects_v2(Bucket=bucket, Prefix=within, MaxKeys=1)
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

    def _has_match(self, bucket: str, pattern: str) -> bool:
        match = re.compile(_expression(pattern)).fullmatch
        start = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        more: dict[str, str] = {}
        for _ in range(_MATCHED_PAGES):
            page = self._client.list_objects_v2(
                Bucket=bucket, Prefix=start, MaxKeys=_PAGE_OBJECTS, **more
            )
            if any(match(one["Key"]) for one in page.get("Contents", ())):
                return True
            if not page.get("IsTruncated"):
                return False
            more = {"ContinuationToken": page["NextContinuationToken"]}
        return True


def _expression(pattern: str) -> str:
    """Keys that a pattern matches, as jobs read it (fsspec): ``*`` stays within a folder."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    return "".join(
        _WILDCARDS.get(part) or (part.replace("[!", "[^") if place % 2 else re.escape(part))
        for place, part in enumerate(parts)
    )


@contextmanager
def opened(
    settings: ArtifactStore, credentials: Mapping[str, str], http: BoundedHttp
) -> Iterator[Store]:
    """Open the store of a job; nothing of it stays.

    Args:
        settings: Where it is.
        credentials: Keys such as AWS_ACCESS_KEY_ID; without any, requests are not signed.
        http: Carries the requests.

    Raises:
        LookUpError: An S3 client takes no such endpoint or region.
    """
    import botocore  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"total_max_attempts": _TRIES, "mode": "standard"},
        # Servers other than AWS seldom have a DNS name per bucket.
        s3={"addressing_style": "path"} if settings.endpoint else {},
        signature_version=None if credentials else botocore.UNSIGNED,
        proxies={},
    )
    try:
        with _MAKING:
            client = _session().create_client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                # Some must be given, or else it looks for those of the operator.
                aws_access_key_id=credentials.get("AWS_ACCESS_KEY_ID", "none"),
                aws_secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY", "none"),
                aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
                config=config,
            )
    except (BotoCoreError, ValueError) as error:
        raise LookUpError(Outcome.UNNAMEABLE) from error
    try:
        client.meta.events.register("before-send.s3", _Carrier(settings.endpoint, http))
        yield Store(client, piece_bytes=http.answer_bytes // 2)
    finally:
        client.close()


@functools.cache
def _session() -> Any:  # noqa: ANN401 - botocore has no types
    """What is known of S3, a file of some MB among it; each client has handlers of its own.

    No keys are in it: each client is given its own.
    """
    from botocore.session import Session  # type: ignore[import-untyped]

    return Session()


def trusting(authority: str | None) -> ssl.SSLContext:
    """A context that trusts the CA certificates of a store.

    Args:
        authority: Certificates in PEM; None for those that S3 clients trust.

    Raises:
        ValueError: It holds none.
    """
    from botocore.httpsession import get_cert_path  # type: ignore[import-untyped]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        named = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        context.load_verify_locations(cafile=named or get_cert_path(True))
        return context
    try:
        context.load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("no certificate in PEM") from error
    return context


class _Carrier:
    """Answers botocore in place of its own client, for which it asks handlers of ``before-send``.

    Args:
        endpoint: The only place to ask; None for those of AWS.
        http: Carries the requests.
    """

    def __init__(self, endpoint: str | None, http: BoundedHttp) -> None:
        self._place = None if endpoint is None else _place(endpoint)
        self._http = http

    def __call__(self, request: Any, **_: object) -> Any:  # noqa: ANN401 - botocore has no types
        from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]
        from botocore.exceptions import HTTPClientError

        if self._place not in {None, _place(request.url)}:
            raise LookUpError(Outcome.ELSEWHERE)
        try:
            answer = self._http.send(request.method, request.url, dict(request.headers.items()))
        except LookUpError as error:
            if error.passing:  # botocore tries again what is an error of its own alone
                raise HTTPClientError(error=error.outcome) from error
            raise
        if answer.status in _REDIRECTS:
            self._judge_redirect(request.url, answer)
        return AWSResponse(request.url, answer.status, answer.headers, _Body(answer.body))

    def _judge_redirect(self, url: str, answer: Answer) -> None:
        """Let pass what tells the region of a bucket on AWS; nothing else of S3 redirects."""
        headers = {name.lower(): value for name, value in answer.headers}
        if self._place is None and _REGION in headers:
            return
        secure = headers.get("location", "").lower().startswith("https:")
        to_https = secure and url.startswith("http:")
        raise LookUpError(Outcome.TO_HTTPS if to_https else Outcome.REDIRECT)


class _Body(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        """The content, as botocore reads it."""
        yield self.read()


def _place(url: str) -> Endpoint:
    try:
        return Endpoint.of(url)
    except ValueError as error:
        raise LookUpError(Outcome.UNNAMEABLE) from error


def _judge(error: Any) -> LookUpError:  # noqa: ANN401 - botocore has no types
    status, said = _status(error) or 0, str(error.response.get("Error", {}).get("Code"))
    code = said if said in _CODES else None
    if status in _DENIED or said in _OF_CREDENTIALS:
        return LookUpError(Outcome.DENIED, code=code)
    if status >= 500:
        return LookUpError(Outcome.FAILED, code=code)
    return LookUpError(Outcome.REFUSED, code=code)


def _status(error: Any) -> int | None:  # noqa: ANN401 - botocore has no types
    status: int | None = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status

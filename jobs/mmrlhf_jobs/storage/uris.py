"""URIs of files and folders: a path, ``file://``, ``s3://`` or any other scheme of fsspec."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mmrlhf_jobs.errors import InputError, JobError, StorageError

__all__ = ["Location", "StorageOptions", "join_uri", "locate", "parent_uri", "storage_errors"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_CLIENT_PACKAGES = frozenset({"aiobotocore", "aiohttp", "botocore"})
# By name: the client is loaded with the first s3:// URI, and not all jobs have one.
_CREDENTIALS_MISSING = frozenset({"NoCredentialsError", "PartialCredentialsError"})


@dataclass(frozen=True)
class StorageOptions:
    """How to reach an object store; credentials come from the environment, never from here."""

    endpoint: str | None = None
    """URL of an S3-compatible server; None means AWS itself."""
    region: str | None = None


@dataclass(frozen=True)
class Location:
    """A URI resolved to a file system and a path on it."""

    uri: str
    fs: Any
    path: str

    @property
    def is_local(self) -> bool:
        """Whether the path is one of this machine's, with rename and fsync."""
        return isinstance(self.fs, LocalFileSystem)


def locate(uri: str, options: StorageOptions | None = None) -> Location:
    """Resolve a URI.

    Args:
        uri: A path or a URL; a path without a scheme is a local one.
        options: Where the object store is, for ``s3://``.

    Raises:
        InputError: The scheme is unknown, or the package that serves it is not installed.
    """
    arguments: dict[str, Any] = {}
    if uri.startswith(("s3://", "s3a://")):
        client = {}
        if options is not None and options.region:
            client["region_name"] = options.region
        if options is not None and options.endpoint:
            client["endpoint_url"] = options.endpoint
            # Servers other than AWS seldom have a DNS name per bucket.
            arguments["config_kwargs"] = {"s3": {"addressing_style": "path"}}
        # A cached listing would hide what another process has just committed.
        arguments |= {"client_kwargs": client, "use_listings_cache": False}
    try:
        fs, path = fsspec.core.url_to_fs(uri, **arguments)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{uri}: cannot be opened: {error}; use a path, file:// or s3://"
        ) from error
    return Location(uri, fs, path)


def join_uri(base: str, relative: str) -> str:
    """Resolve a URI against a folder.

    An absolute path or a URI with a scheme is taken as it is. A relative one stays inside the
    folder.

    Raises:
        InputError: The relative path leads out of the folder by ``..``.
    """
    if "://" in relative or relative.startswith("/"):
        return relative
    normal = posixpath.normpath(relative)
    if normal == ".." or normal.startswith("../"):
        raise InputError(f"{relative}: leads out of {base}; give an absolute URI instead")
    return f"{base.rstrip('/')}/{normal}"


def parent_uri(uri: str) -> str:
    """The folder that holds the file or folder at this URI."""
    scheme, separator, path = uri.rpartition("://")
    return scheme + separator + (posixpath.dirname(path.rstrip("/")) or ("/" if scheme else "."))


@contextmanager
def storage_errors(uri: str, action: str) -> Iterator[None]:
    """Turn errors of file systems and object stores into ours, with one clear message.

    Args:
        uri: What was read or written.
        action: What was done to it, such as ``write``.

    Raises:
        InputError: It may not be read or written.
        StorageError: The disk is full, the file is gone, the server does not answer, and so on.
    """
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        # The client first: some of its errors are of the system's classes as well.
        if type(error).__module__.partition(".")[0] in _CLIENT_PACKAGES:
            raise _client_error(error, uri, action) from error
        if isinstance(error, OSError):
            raise _system_error(error, uri, action) from error
        raise


def _client_error(error: Exception, uri: str, action: str) -> JobError:
    if type(error).__name__ in _CREDENTIALS_MISSING:
        return InputError(
            f"{uri}: cannot {action} it without credentials ({error}); set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, in a cluster by spec.artifacts.credentialsSecret"
        )
    return StorageError(
        f"cannot {action} {uri}: {error}; check the endpoint, region and credentials, and that the"
        " server's certificate is trusted"
    )


def _system_error(error: OSError, uri: str, action: str) -> JobError:
    if error.errno in _FULL:
        return StorageError(
            f"disk full: cannot {action} {uri}; free space there or choose another place"
        )
    if isinstance(error, PermissionError) or error.errno in _REFUSED:
        return InputError(
            f"{uri}: no permission to {action} it ({error}); check its owner, mount and credentials"
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(f"{uri}: does not exist ({error})")
    return StorageError(f"cannot {action} {uri}: {error}")
